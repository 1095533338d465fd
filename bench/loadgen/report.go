package main

import (
	"math"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// spread is the percentiles of some latencies, in milliseconds.
type spread struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// class is what is told of all answers with one status.
type class struct {
	Count        int    `json:"count"`
	InTime       int    `json:"in_time"` // came before the run's seconds were over
	FromSchedule spread `json:"from_schedule_ms"`
	FromSend     spread `json:"from_send_ms"`
}

type report struct {
	Rate         float64          `json:"rate"`
	Seconds      float64          `json:"seconds"`
	AchievedRate float64          `json:"achieved_rate"` // requests sent a second
	Due          int              `json:"due"`
	NotSent      int              `json:"not_sent"` // due while as many as allowed were on their way
	Statuses     map[string]class `json:"statuses"`
	Errors       map[string]int   `json:"errors"`
	LatenessMs   spread           `json:"lateness_ms"` // of the generator itself, from due to sent
	CPUSeconds   float64          `json:"cpu_seconds"` // of the generator itself
}

func (r *run) report() report {
	byStatus := map[int][]outcome{}
	result := report{
		Rate: r.options.rate, Seconds: r.options.seconds, Due: r.due, NotSent: r.notSent,
		AchievedRate: float64(r.due-r.notSent) / r.options.seconds,
		Statuses:     map[string]class{}, Errors: map[string]int{}, CPUSeconds: cpuSeconds(),
	}
	for _, o := range r.outcomes {
		if o.status == 0 {
			result.Errors[o.kind]++
		} else {
			byStatus[o.status] = append(byStatus[o.status], o)
		}
	}
	for status, outcomes := range byStatus {
		result.Statuses[strconv.Itoa(status)] = classOf(outcomes, result.Seconds)
	}
	result.LatenessMs = spreadOf(r.outcomes, func(o outcome) time.Duration { return o.sent - o.due })
	return result
}

func classOf(outcomes []outcome, seconds float64) class {
	c := class{
		Count:        len(outcomes),
		FromSchedule: spreadOf(outcomes, func(o outcome) time.Duration { return o.end - o.due }),
		FromSend:     spreadOf(outcomes, func(o outcome) time.Duration { return o.end - o.sent }),
	}
	for _, o := range outcomes {
		if o.end.Seconds() <= seconds {
			c.InTime++
		}
	}
	return c
}

func spreadOf(outcomes []outcome, take func(outcome) time.Duration) spread {
	if len(outcomes) == 0 {
		return spread{}
	}
	values := make([]float64, len(outcomes))
	for i, o := range outcomes {
		values[i] = float64(take(o)) / float64(time.Millisecond)
	}
	slices.Sort(values)
	at := func(part float64) float64 {
		index := int(math.Ceil(part*float64(len(values)))) - 1
		return math.Round(values[max(0, index)]*1000) / 1000
	}
	return spread{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
