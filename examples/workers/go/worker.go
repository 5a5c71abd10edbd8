// A whole worker in Go: WORKQUEUE_URL=ws://127.0.0.1:8000 WORKQUEUE_TOKEN=wq_… go run .
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

const (
	query    = "task=upper&lang=en,de&_max_outstanding=20&_batch=1&_version=go-example"
	restart  = "The server restarts."
	resend   = 5 * time.Second
	ping     = 10 * time.Second
	stable   = 10 * time.Second
	maxPause = 30 * time.Second
)

var fatal = map[int]bool{4400: true, 4401: true, 4403: true, 4409: true}

type message struct {
	Kind    string          `json:"kind"`
	TaskID  string          `json:"task_id"`
	Attempt int             `json:"attempt"`
	Data    json.RawMessage `json:"data"`
	Reason  string          `json:"reason"`
	Message string          `json:"message"`
}

type key struct {
	id      string
	attempt int
}

type answer struct {
	of   key
	text any
}

func perform(task message) (string, error) {
	var text string
	if json.Unmarshal(task.Data, &text) != nil {
		text = string(task.Data)
	}
	return strings.ToUpper(text), nil
}

func run(task message) answer {
	of := key{task.TaskID, task.Attempt}
	data, err := perform(task)
	if err != nil {
		return answer{of, map[string]any{"task_id": of.id, "attempt": of.attempt, "result": "error", "error": err.Error()}}
	}
	return answer{of, map[string]any{"task_id": of.id, "attempt": of.attempt, "result": "done", "data": data}}
}

// session is one connection. All that it knows of tasks is forgotten with it: others have them by then.
func session(signals <-chan os.Signal) (code int, leaving bool) {
	header := http.Header{"Authorization": {"Bearer " + os.Getenv("WORKQUEUE_TOKEN")}}
	dialer := websocket.Dialer{Subprotocols: []string{"workqueue.v1"}, HandshakeTimeout: 10 * time.Second}
	socket, response, err := dialer.Dial(os.Getenv("WORKQUEUE_URL")+"/work/queue?"+query, header)
	if err != nil {
		log.Print(err)
		if response != nil && (response.StatusCode == 401 || response.StatusCode == 403) {
			return 4401, false
		}
		return 0, false
	}
	defer socket.Close()
	// A half-open connection ends here: without a pong, or anything else, in time the next read fails.
	alive := func(string) error { return socket.SetReadDeadline(time.Now().Add(2 * ping)) }
	socket.SetPongHandler(alive)
	alive("")

	heard, closed, answers := make(chan message), make(chan int, 1), make(chan answer)
	over := make(chan struct{})
	defer close(over)
	go read(socket, heard, closed, over)

	seen, running, cancelled, unacknowledged := map[key]bool{}, map[key]bool{}, map[key]bool{}, map[key]any{}
	draining := false
	drain := func(forGood bool) {
		leaving = leaving || forGood
		if !draining {
			socket.WriteJSON(map[string]string{"kind": "drain"})
		}
		draining = true
	}
	resending, pinging := time.NewTicker(resend), time.NewTicker(ping)
	defer resending.Stop()
	defer pinging.Stop()
	for {
		select {
		case code = <-closed:
			return code, leaving
		case <-signals:
			drain(true)
		case <-pinging.C:
			socket.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
		case <-resending.C:
			for _, text := range unacknowledged {
				socket.WriteJSON(text)
			}
		case done := <-answers:
			delete(running, done.of)
			if !cancelled[done.of] {
				unacknowledged[done.of] = done.text
				socket.WriteJSON(done.text)
			}
		case m := <-heard:
			of := key{m.TaskID, m.Attempt}
			switch m.Kind {
			case "task":
				if seen[of] {
					continue // given twice; its result is sent again until it is acknowledged
				}
				seen[of] = true
				if draining {
					socket.WriteJSON(map[string]string{"kind": "release", "task_id": m.TaskID})
					continue
				}
				running[of] = true
				go func() {
					select {
					case answers <- run(m):
					case <-over:
					}
				}()
			case "ack":
				delete(unacknowledged, of)
			case "cancel":
				cancelled[of] = true
			case "drain":
				if !draining { // a later one confirms what this worker said itself
					drain(m.Reason != restart)
				}
			case "error":
				log.Print("not understood: ", m.Message)
			}
		}
		if draining && len(running) == 0 && len(unacknowledged) == 0 {
			goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			socket.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
			for {
				select {
				case code = <-closed:
					return code, leaving
				case <-heard:
				}
			}
		}
	}
}

func read(socket *websocket.Conn, heard chan<- message, closed chan<- int, over <-chan struct{}) {
	for {
		kind, frame, err := socket.ReadMessage()
		if err != nil {
			var end *websocket.CloseError
			code := 0
			if errors.As(err, &end) {
				code = end.Code
			}
			closed <- code
			return
		}
		socket.SetReadDeadline(time.Now().Add(2 * ping))
		var messages []message
		if kind != websocket.TextMessage || json.Unmarshal(frame, &messages) != nil {
			var one message
			if kind != websocket.TextMessage || json.Unmarshal(frame, &one) != nil {
				continue
			}
			messages = []message{one}
		}
		for _, m := range messages {
			select {
			case heard <- m:
			case <-over:
				return
			}
		}
	}
}

func main() {
	if os.Getenv("WORKQUEUE_URL") == "" {
		os.Setenv("WORKQUEUE_URL", "ws://127.0.0.1:8000")
	}
	rand.Seed(time.Now().UnixNano())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	for failures := 0; ; {
		opened := time.Now()
		code, leaving := session(signals)
		fmt.Fprintln(os.Stderr, "closed:", code)
		if fatal[code] {
			os.Exit(1)
		}
		if leaving {
			return
		}
		if failures++; time.Since(opened) > stable {
			failures = 0
		}
		// Full jitter: a fleet that lost its server at one moment comes back spread out.
		ceiling := math.Min(float64(maxPause), float64(500*time.Millisecond)*math.Pow(2, float64(failures)))
		select {
		case <-time.After(time.Duration(rand.Float64() * ceiling)):
		case <-signals:
			return
		}
	}
}
