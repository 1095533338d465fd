package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// message is the bytes of one request, made once.
type message struct {
	head, body []byte
}

// target is where requests go, and the messages that they take in turns, at least one.
type target struct {
	address  string
	messages []message
	timeout  time.Duration
}

func newTarget(o options) (*target, error) {
	parsed, err := url.Parse(o.url)
	if err != nil {
		return nil, err
	}
	if parsed.Scheme != "http" || parsed.Host == "" {
		return nil, fmt.Errorf("-url must be http://host:port/path, not %q", o.url)
	}
	address := parsed.Host
	if parsed.Port() == "" {
		address += ":80"
	}
	t := &target{address: address, timeout: o.timeout}
	for _, name := range o.bodies {
		body, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		t.messages = append(t.messages, newMessage("POST", parsed, o, body))
	}
	if len(t.messages) == 0 {
		t.messages = append(t.messages, newMessage("GET", parsed, o, nil))
	}
	return t, nil
}

func newMessage(method string, to *url.URL, o options, body []byte) message {
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, to.RequestURI(), to.Host)
	if method == "POST" {
		fmt.Fprintf(&head, "Content-Type: %s\r\nContent-Length: %d\r\n", o.contentType, len(body))
	}
	for _, line := range o.headers {
		head.WriteString(line + "\r\n")
	}
	head.WriteString("\r\n")
	return message{head: []byte(head.String()), body: body}
}

func (t *target) dial(deadline time.Time) (*conn, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	raw, err := dialer.Dial("tcp", t.address)
	if err != nil {
		return nil, err
	}
	return newConn(raw), nil
}
