package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// key are the settings that results depend on.
func (s *settings) key() string {
	return fmt.Sprintf("batch %d, %d threads, %d rounds of %d steps, xla %v, torch %v", s.batch, s.threads, s.rounds, s.steps, s.xla, s.python != "")
}

// kept reads the networks that were measured with these settings.
func kept(path, key string) (map[string]result, error) {
	out := map[string]result{}
	if path == "" {
		return out, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var r result
		if json.Unmarshal(sc.Bytes(), &r) == nil && r.Key == key {
			out[r.Net] = r
		}
	}
	return out, nil
}

// keep adds a network to the state file.
func keep(path string, r result) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return err
}
