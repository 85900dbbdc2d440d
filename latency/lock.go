package latency

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/nasc-dev/nasc/internal/diag"
)

// locked waits until no other process measures into the table at path; waiting,
// where there is one, is called once when there is something to wait for. The
// lock is a file beside the table, which the process that holds it removes.
func locked(ctx context.Context, path string, waiting func()) (free func() error, err error) {
	name := path + ".lock"
	bad := func(err error) error {
		return &diag.Error{Place: name, Err: err, Fix: "name a table in a folder that can be written to"}
	}
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lock := flock.New(name)
		got, err := lock.TryLock()
		if err == nil && !got {
			if waiting != nil {
				waiting()
				waiting = nil
			}
			if got, err = lock.TryLockContext(ctx, 50*time.Millisecond); !got && ctx.Err() != nil {
				return nil, errors.Join(ctx.Err(), lock.Close())
			}
		}
		if err != nil {
			return nil, errors.Join(bad(err), lock.Close())
		}
		mine, err := lock.Stat()
		if err != nil {
			return nil, errors.Join(bad(err), lock.Close())
		}
		if now, err := os.Stat(name); err == nil && os.SameFile(mine, now) {
			return func() error {
				gone := os.Remove(name) // before others may take it; not on Windows, where it is open
				err := lock.Close()
				if gone != nil {
					_ = os.Remove(name) // another process may hold it by now
				}
				return err
			}, nil
		}
		if err := lock.Close(); err != nil { // the one that held it has removed it: another file counts
			return nil, bad(err)
		}
	}
}
