package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// nap is the shortest sleep between two requests: waking up for each one apart would cost more than sending it. What was due
// meanwhile is then sent at once, and its latency still counts from when it was due.
const nap = 2 * time.Millisecond

// outcome is one request's end. status 0: an error, named by kind. Times count from the start of the run.
type outcome struct {
	status         int
	kind           string
	due, sent, end time.Duration
}

// run is one run of the generator. The loop's goroutine alone decides what is sent; each request has a goroutine of its
// own, which ends by the request's deadline. mutex guards outcomes; idle and slots are channels.
type run struct {
	target   *target
	options  options
	idle     chan *conn    // first in, first out, so that every open connection is used
	slots    chan struct{} // one token for each request on its way
	start    time.Time
	notSent  int
	due      int
	requests sync.WaitGroup
	mutex    sync.Mutex
	outcomes []outcome
}

func newRun(t *target, o options) *run {
	return &run{
		target: t, options: o,
		idle:     make(chan *conn, o.connections),
		slots:    make(chan struct{}, o.connections),
		outcomes: make([]outcome, 0, int(o.rate*o.seconds)+1),
	}
}

// loop sends what is due until the time is up, then waits for the last answers.
func (r *run) loop() {
	r.openSome()
	every := time.Duration(float64(time.Second) / r.options.rate)
	length := time.Duration(r.options.seconds * float64(time.Second))
	r.start = time.Now()
	for due := time.Duration(0); due < length; due += every {
		if wait := due - time.Since(r.start); wait > 0 {
			time.Sleep(max(wait, nap))
		}
		m := r.target.messages[r.due%len(r.target.messages)]
		r.due++
		select {
		case r.slots <- struct{}{}:
			r.requests.Add(1)
			go r.request(m, due)
		default:
			r.notSent++
		}
	}
	r.requests.Wait()
	for len(r.idle) > 0 {
		(<-r.idle).raw.Close()
	}
}

func (r *run) openSome() {
	for i := 0; i < min(r.options.open, r.options.connections); i++ {
		c, err := r.target.dial(time.Now().Add(r.target.timeout))
		if err != nil {
			fmt.Fprintln(os.Stderr, "loadgen:", err)
			return
		}
		r.idle <- c
	}
}

func (r *run) request(m message, due time.Duration) {
	defer r.requests.Done()
	sent := time.Since(r.start)
	deadline := time.Now().Add(r.target.timeout)
	got, c, err := r.exchange(m, deadline)
	end := time.Since(r.start)
	if c != nil && err == nil && !got.closing {
		r.idle <- c
	} else if c != nil {
		c.raw.Close()
	}
	<-r.slots
	o := outcome{status: got.status, due: due, sent: sent, end: end}
	if err != nil {
		o.status, o.kind = 0, kind(err)
	}
	r.mutex.Lock()
	r.outcomes = append(r.outcomes, o)
	r.mutex.Unlock()
}

func (r *run) exchange(m message, deadline time.Time) (answer, *conn, error) {
	c, err := r.connection(deadline)
	if err != nil {
		return answer{}, nil, err
	}
	got, err := c.exchange(m, deadline)
	return got, c, err
}

func (r *run) connection(deadline time.Time) (*conn, error) {
	select {
	case c := <-r.idle:
		return c, nil
	default:
		return r.target.dial(deadline)
	}
}
