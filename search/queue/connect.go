package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nasc-dev/nasc/internal/diag"
	"github.com/nasc-dev/nasc/search"
)

// connect connects to a server, and again whenever the connection is lost.
func connect(url, name string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond))
	if err != nil {
		e := &diag.Error{Place: "--nats " + Hidden(url), Err: err}
		if errors.Is(err, nats.ErrAuthorization) {
			e.Found, e.Err, e.Fix = "credentials that the server does not take", nil, "give them in the address: nats://TOKEN@HOST:PORT"
		} else if errors.Is(err, nats.ErrNoServers) {
			e.Fix = "start one there (nats-server -js), or take --nats embedded"
		}
		return nil, nil, e
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// blobs is a study's object store of weights as a search.Store.
type blobs struct {
	ctx context.Context
	in  jetstream.ObjectStore
}

// Put uploads a file.
func (b blobs) Put(file []byte) (string, error) {
	digest := search.Digest(file)
	if _, err := b.in.GetInfo(b.ctx, digest); err == nil {
		return digest, nil
	}
	_, err := b.in.PutBytes(b.ctx, digest, file)
	return digest, err
}

// Get downloads a file and checks its digest.
func (b blobs) Get(digest string) ([]byte, error) {
	file, err := b.in.GetBytes(b.ctx, digest)
	if err != nil {
		return nil, diag.At("weights "+digest, err)
	}
	if got := search.Digest(file); got != digest {
		return nil, &diag.Error{Place: "weights " + digest, Found: "bytes whose SHA-256 is " + got, Wanted: "what the name says"}
	}
	return file, nil
}

// taken says that a subject has its message already.
func taken(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && e.ErrorCode == 10077 // maximum messages per subject exceeded
}

func noAnswer(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// place says which trial an error is of.
func place(id int64, err error) error { return diag.At(fmt.Sprintf("trial %d", id), err) }
