package engine

import (
	"fmt"
	"time"
)

const (
	// tellEvery and logEvery are the least time between two words about one
	// pull to whoever watches, and to the log.
	tellEvery = time.Second
	logEvery  = 10 * time.Second
)

// Progress is how far the pull of an image is.
type Progress struct {
	Image   string
	Started time.Time
	// Layers are those known so far, Done those that are here and unpacked.
	Layers, Done int
	// Bytes of Total have come. What the engine has not begun to download is
	// in neither.
	Bytes, Total int64
	// Ended says that the pull has, well or not.
	Ended bool
}

// pullMessage is a line of what the engine says during a pull.
type pullMessage struct {
	ID, Status, Error string
	ProgressDetail    struct{ Current, Total int64 }
}

// watched adds up what the engine says during one pull and passes it on, not
// too often.
type watched struct {
	e            *Engine
	now          Progress
	layers       map[string]layer
	told, logged time.Time
}

type layer struct {
	current, total int64
	done           bool
}

func (e *Engine) progress(ref string) *watched {
	now := time.Now()
	return &watched{e: e, now: Progress{Image: ref, Started: now}, layers: map[string]layer{}, logged: now}
}

func (w *watched) add(m pullMessage) {
	if !w.take(m) {
		return
	}
	now := time.Now()
	if now.Sub(w.told) >= tellEvery {
		w.told = now
		w.tell()
	}
	if now.Sub(w.logged) >= logEvery {
		w.logged = now
		w.e.o.Logger.Info("still pulling", "image", w.now.Image,
			"progress", fmt.Sprintf("%d of %d layers, %.1f of %.1f MB", w.now.Done, w.now.Layers, float64(w.now.Bytes)/1e6, float64(w.now.Total)/1e6), "took", now.Sub(w.now.Started).Round(time.Second))
	}
}

// take adds a line up, and says whether it was about a layer.
func (w *watched) take(m pullMessage) bool {
	if m.ID == "" {
		return false
	}
	l := w.layers[m.ID]
	switch m.Status {
	case "Pulling fs layer", "Waiting", "Verifying Checksum", "Extracting":
	case "Downloading":
		l.current, l.total = m.ProgressDetail.Current, max(l.total, m.ProgressDetail.Total)
	case "Download complete":
		l.current = l.total
	case "Pull complete", "Already exists":
		l.current, l.done = l.total, true
	default: // "Pulling from library/busybox" has the tag as its id
		return false
	}
	w.layers[m.ID] = l
	w.now.Layers, w.now.Done, w.now.Bytes, w.now.Total = len(w.layers), 0, 0, 0
	for _, l := range w.layers {
		w.now.Bytes += l.current
		w.now.Total += l.total
		if l.done {
			w.now.Done++
		}
	}
	return true
}

func (w *watched) end() {
	if w.told.IsZero() {
		return
	}
	w.now.Ended = true
	w.tell()
}

func (w *watched) tell() {
	if w.e.o.Progress != nil {
		w.e.o.Progress(w.now)
	}
}
