package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"
)

// conn is one connection. It carries one request at a time.
type conn struct {
	raw    net.Conn
	reader *bufio.Reader
}

// answer is what counts of an answer. closing: the connection ends with it.
type answer struct {
	status  int
	closing bool
}

var errMalformed = errors.New("malformed answer")

func newConn(raw net.Conn) *conn {
	return &conn{raw: raw, reader: bufio.NewReaderSize(raw, 2048)}
}

// exchange sends one request and reads its answer. A server may answer before it has the whole body and read no further
// (a refusal), so the answer is read while the body may still be on its way.
func (c *conn) exchange(m message, deadline time.Time) (answer, error) {
	if err := c.raw.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	buffers := net.Buffers{m.head, m.body}
	if len(m.body) == 0 {
		buffers = buffers[:1]
	}
	written := make(chan error, 1)
	go func() {
		_, err := buffers.WriteTo(c.raw)
		written <- err
	}()
	got, err := c.read()
	if err != nil || got.closing {
		c.raw.Close() // ends a write that still waits for room
	}
	if writeErr := <-written; err != nil && writeErr != nil && !errors.Is(writeErr, net.ErrClosed) {
		err = writeErr // what came first: the reader saw only its end
	}
	return got, err
}

// read takes one answer off the connection: its status line, two of its headers, and its body, which is thrown away.
func (c *conn) read() (answer, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return answer{}, errMalformed
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return answer{}, errMalformed
	}
	got, length := answer{status: status}, 0
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return got, err
		}
		name, value, found := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if len(name) == 0 {
			break
		}
		if !found {
			return got, errMalformed
		}
		value = bytes.TrimSpace(value)
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return got, errMalformed
			}
		} else if bytes.EqualFold(name, []byte("Connection")) {
			got.closing = bytes.EqualFold(value, []byte("close"))
		} else if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			return got, fmt.Errorf("%w: chunked answers are not understood", errMalformed)
		}
	}
	_, err = c.reader.Discard(length)
	return got, err
}

// kind names an error for the report.
func kind(err error) string {
	var timed net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed without an answer"
	case errors.As(err, &timed) && timed.Timeout():
		return "timeout"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE):
		return "no free port or file here"
	case errors.Is(err, errMalformed):
		return "malformed answer"
	}
	return "other"
}
