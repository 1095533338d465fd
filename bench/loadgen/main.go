// Command loadgen sends HTTP requests at a constant rate, whether or not answers come (an open loop), and prints what
// came back as JSON. A request's latency counts from the moment it was due, so a server that stalls cannot hide it.
//
// It knows HTTP/1.1 as far as one kind of request, with one body or several in turns, and its answer go. It does not know what
// a good figure is.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

type headers []string

func (h *headers) String() string { return strings.Join(*h, ", ") }

func (h *headers) Set(line string) error {
	if !strings.Contains(line, ":") {
		return fmt.Errorf("must be Name: value")
	}
	*h = append(*h, line)
	return nil
}

type files []string

func (f *files) String() string { return strings.Join(*f, ", ") }

func (f *files) Set(name string) error {
	*f = append(*f, name)
	return nil
}

type options struct {
	url, contentType  string
	bodies            files
	headers           headers
	rate, seconds     float64
	connections, open int
	timeout           time.Duration
}

func parse() options {
	var o options
	flag.StringVar(&o.url, "url", "", "where to, http:// only")
	flag.Float64Var(&o.rate, "rate", 100, "requests a second")
	flag.Float64Var(&o.seconds, "seconds", 10, "how long")
	flag.Var(&o.bodies, "body", "file to POST; may be given several times, and they are sent in turns; without it the requests are GET")
	flag.StringVar(&o.contentType, "content-type", "application/octet-stream", "of the body")
	flag.Var(&o.headers, "header", "one more header, as Name: value; may be given several times")
	flag.IntVar(&o.connections, "connections", 2000, "most requests on their way; what is due beyond that is not sent, and counted")
	flag.IntVar(&o.open, "open", 0, "connections to open before the first request")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Second, "most time for one answer")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	target, err := newTarget(o)
	if err == nil && (o.rate <= 0 || o.seconds <= 0 || o.connections < 1) {
		err = fmt.Errorf("rate, seconds and connections must be above 0")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(2)
	}
	// The server under load wants the cores: one is more than enough here, and threads that wake each other cost a tenth.
	runtime.GOMAXPROCS(1)
	run := newRun(target, o)
	run.loop()
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(run.report()); err != nil {
		os.Exit(1)
	}
}
