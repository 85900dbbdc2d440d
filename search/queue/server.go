package queue

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/nasc-dev/nasc/internal/diag"
)

// Server is a NATS server in this process.
type Server struct {
	s   *server.Server
	URL string // with the credentials
}

// addressFile tells workers on this machine where the server is.
const addressFile = "address"

// lastPort is the port that a server of the study had before, 0 for none.
func lastPort(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	u, err := url.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

const startTime = 20 * time.Second

// Embed starts a server whose streams are in dir. listen is HOST:PORT, port 0
// for the port that the study had last, or any. A server that others can reach
// wants a token, which workers must know.
func Embed(dir, listen, token string) (*Server, error) {
	host, portText, err := net.SplitHostPort(listen)
	port, perr := strconv.Atoi(portText)
	if err = errors.Join(err, perr); err != nil || port < 0 || port > 65535 {
		return nil, &diag.Error{Place: "--nats-listen", Found: fmt.Sprintf("%q", listen), Wanted: "HOST:PORT, port 0 for any"}
	}
	if !loopback(host) && token == "" {
		return nil, &diag.Error{
			Place: "--nats-listen " + listen, Found: "a server that other machines reach, without credentials", Wanted: "--nats-token, which workers have to know",
			Fix: "give one, or listen on 127.0.0.1",
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diag.At(dir, err)
	}
	ports := []int{port}
	file := filepath.Join(dir, addressFile)
	if port == 0 {
		ports = []int{server.RANDOM_PORT}
		if last := lastPort(file); last > 0 {
			ports = []int{last, server.RANDOM_PORT} // so that workers find it again
		}
	}
	for _, p := range ports {
		if p > 0 && len(ports) > 1 && !free(host, p) {
			continue
		}
		s, err := start(dir, host, p, token)
		if err != nil {
			return nil, err
		}
		addr, ok := s.Addr().(*net.TCPAddr)
		if !ok {
			s.Shutdown()
			return nil, fmt.Errorf("BUG: a server at %v", s.Addr())
		}
		u := url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(addr.Port))}
		if token != "" {
			u.User = url.User(token)
		}
		if err := os.WriteFile(file, []byte(u.String()), 0o600); err != nil { // it may hold the token
			s.Shutdown()
			return nil, diag.At(file, err)
		}
		return &Server{s, u.String()}, nil
	}
	return nil, &diag.Error{Place: "--nats-listen " + listen, Found: "a port that is taken", Wanted: "a free one"}
}

func start(dir, host string, port int, token string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		Host: host, Port: port, JetStream: true, StoreDir: dir, Authorization: token, NoLog: true, NoSigs: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		return nil, diag.At("embedded NATS server", err)
	}
	go s.Start()
	if !s.ReadyForConnections(startTime) {
		s.Shutdown()
		return nil, &diag.Error{Place: "embedded NATS server", Found: fmt.Sprintf("no answer at %s:%d within %v", host, port, startTime), Wanted: "a port that can be listened on", Fix: "another --nats-listen"}
	}
	return s, nil
}

func free(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Close stops the server.
func (s *Server) Close() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}
