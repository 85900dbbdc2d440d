package runtime_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nasc-dev/nasc/runtime"
)

// A service loads the model once and runs it from as many goroutines as it
// likes, each with tensors of its own.
func Example() {
	model, err := runtime.Load("testdata/tiny.nasc", runtime.Threads(2))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	// A picture of 8×8 pixels: a bright square on a dark ground.
	pixels := make([]float32, 8*8)
	for i := range pixels {
		if x, y := i%8, i/8; x > 2 && x < 6 && y > 2 && y < 6 {
			pixels[i] = 1
		}
	}
	in := []*runtime.Tensor{runtime.From(pixels, 1, 8, 8, 1)}
	out, err := model.NewOutputs(in) // kept and used again by later runs
	if err != nil {
		log.Fatal(err)
	}
	if err := model.Run(context.Background(), in, out); err != nil {
		log.Fatal(err)
	}
	scores, best := out[0].F32(), 0
	for i, s := range scores {
		if s > scores[best] {
			best = i
		}
	}
	fmt.Println(model.Inputs()[0].Name, "is a", model.Labels()[best])
	// Output: picture is a dog
}
