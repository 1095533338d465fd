package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// target is where requests go, and the bytes of one request, made once.
type target struct {
	address    string
	head, body []byte
	timeout    time.Duration
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
	var head strings.Builder
	if o.body == "" {
		fmt.Fprintf(&head, "GET %s HTTP/1.1\r\nHost: %s\r\n", parsed.RequestURI(), parsed.Host)
	} else {
		if t.body, err = os.ReadFile(o.body); err != nil {
			return nil, err
		}
		fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: %s\r\n", parsed.RequestURI(), parsed.Host)
		fmt.Fprintf(&head, "Content-Type: %s\r\nContent-Length: %d\r\n", o.contentType, len(t.body))
	}
	for _, line := range o.headers {
		head.WriteString(line + "\r\n")
	}
	head.WriteString("\r\n")
	t.head = []byte(head.String())
	return t, nil
}

func (t *target) dial(deadline time.Time) (*conn, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	raw, err := dialer.Dial("tcp", t.address)
	if err != nil {
		return nil, err
	}
	return newConn(raw), nil
}
