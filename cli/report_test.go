package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nasc-dev/nasc/cli"
)

// browser finds Chromium; without one, the test is skipped.
func browser(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Skip("no Chromium here (Debian: apt-get install chromium)")
	return ""
}

// chromium opens a page without a window and with the network off.
func chromium(t *testing.T, page string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
		"--no-sandbox", // the sandbox does not start as root, and the page is our own
		"--user-data-dir=" + t.TempDir(), "--window-size=1200,1600",
	}, args...)
	c := exec.CommandContext(ctx, browser(t), append(args, "file://"+page)...)
	c.WaitDelay = 5 * time.Second
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out
}

// TestReportInBrowser opens the page of compile --report in a real browser: the
// figures are those that --json gives, and the charts are painted.
func TestReportInBrowser(t *testing.T) {
	browser(t)
	page := filepath.Join(t.TempDir(), "report.html")
	var out, errs bytes.Buffer
	if code := cli.Main(context.Background(), []string{
		"compile", "../zoo/digits-cnn.toml", "--target", "cpu-int8", "--calib", "digits[0:200]", "--eval", "digits[1200:1500]", "--report", page, "--json",
	}, &out, &errs); code != 0 {
		t.Fatalf("compile gives %d: %s", code, errs.String())
	}
	var want struct {
		Top1      float64 `json:"top1"`
		Agreement float64 `json:"agreement"`
		SQNR      float64 `json:"sqnr_db"`
		MS        float64 `json:"ms"`
		Share     float64 `json:"int8_mac_share"`
	}
	if err := json.Unmarshal(out.Bytes(), &want); err != nil {
		t.Fatal(err)
	}

	// The script runs in the browser: it counts what was laid out with an extent.
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	probe := filepath.Join(filepath.Dir(page), "probe.html")
	script := `<script>addEventListener("load",()=>{const n=q=>[...document.querySelectorAll(q)].filter(e=>{const r=e.getBoundingClientRect();return r.height>0&&(r.width>0||e.tagName=="line")}).length;` +
		`document.body.dataset.seen=["svg","rect","#graph g","#graph line"].map(n).join(" ")})</script>`
	if err := os.WriteFile(probe, append(text, script...), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := string(chromium(t, probe, "--dump-dom"))
	for id, figure := range map[string]string{
		"top1":      fmt.Sprintf("%.2f %%", 100*want.Top1),
		"agreement": fmt.Sprintf("%.2f %%", 100*want.Agreement),
		"sqnr":      fmt.Sprintf("%.1f dB", want.SQNR),
		"ms":        fmt.Sprintf("%.3f ms", want.MS),
		"share":     fmt.Sprintf("%.2f %%", 100*want.Share),
	} {
		if !strings.Contains(dom, fmt.Sprintf(`id="%s">%s<`, id, figure)) {
			t.Errorf("the page does not show %s = %s", id, figure)
		}
	}
	m := regexp.MustCompile(`data-seen="(\d+) (\d+) (\d+) (\d+)"`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatal("the page's script did not run")
	}
	var svgs, rects, nodes, lines int
	fmt.Sscan(strings.Join(m[1:], " "), &svgs, &rects, &nodes, &lines)
	// Accuracy, layers, steps and the graph; the digits network has 4 layers.
	if svgs != 4 || rects < 2+4+4+nodes || nodes < 6 || lines < 5 {
		t.Errorf("laid out: %d pictures, %d bars, %d nodes, %d edges", svgs, rects, nodes, lines)
	}

	shot := filepath.Join(filepath.Dir(page), "report.png")
	chromium(t, page, "--screenshot="+shot)
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	painted := map[color.RGBA]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			painted[color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}]++
		}
	}
	for name, c := range map[string]color.RGBA{"int8 bars": {0x3b, 0x6e, 0xa5, 255}, "f32 bars": {0xc9, 0xa2, 0x27, 255}, "int8 nodes": {0xdb, 0xe7, 0xf3, 255}} {
		if painted[c] < 500 {
			t.Errorf("%s: %d pixels painted in %v", name, painted[c], c)
		}
	}
}
