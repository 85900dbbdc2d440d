package latency

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Energy is read of whole packages, over the end of a counter's range, and
// refused with the reason where there is none.
func TestMeter(t *testing.T) {
	dir := t.TempDir()
	if _, err := newMeter(dir); err == nil || !strings.Contains(err.Error(), "no energy counters") {
		t.Errorf("no counters: %v", err)
	}
	put := func(zone, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, zone), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, zone, name), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("intel-rapl:0", "energy_uj", "9000000")
	put("intel-rapl:0", "max_energy_range_uj", "10000000")
	put("intel-rapl:0:0", "energy_uj", "5")
	m, err := newMeter(dir)
	if err != nil {
		t.Fatal(err)
	}
	put("intel-rapl:0", "energy_uj", "1000000") // 1 J to the end, 1 J more
	if j, err := m.Joules(); err != nil || j != 2 {
		t.Errorf("%v J, %v", j, err)
	}
	at := 1
	j, err := Energy(m, time.Millisecond, func() error {
		at++
		put("intel-rapl:0", "energy_uj", strings.Repeat("0", 1)+itoa(1000000+at*1000))
		time.Sleep(300 * time.Microsecond)
		return nil
	})
	if err != nil || j < 0.0009 || j > 0.0021 {
		t.Errorf("%v J a run of 1 mJ, %v", j, err)
	}
	put("intel-rapl:0", "energy_uj", "none")
	if _, err := newMeter(dir); err == nil || !strings.Contains(err.Error(), "energy") {
		t.Errorf("an unreadable counter: %v", err)
	}
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}
