package cpu

import (
	"cmp"
	"slices"
)

// where says whose memory a buffer is.
type where uint8

const (
	inArena  where = iota
	inInput        // the caller's input tensor
	inOutput       // the caller's output tensor
	inConst        // a constant of the graph
)

// buffer is a stretch of memory that one or more values share.
type buffer struct {
	where       where
	size        int
	first, last int    // steps that write it first and read it last
	offset      int    // in the arena
	io          int    // index of the graph input or output
	data        []byte // of a constant
}

// view is a contiguous part of a buffer.
type view struct {
	buf *buffer
	off int
	len int
}

// whole says that the view is all of its buffer.
func (v view) whole() bool { return v.off == 0 && v.len == v.buf.size }

// alignment of buffers in the arena: a cache line and the widest vector.
const alignment = 64

func align(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// placeBuffers gives every arena buffer an offset such that buffers alive at
// one time do not overlap, and returns the arena's size.
func placeBuffers(all []*buffer, threads int) int {
	var bufs []*buffer
	for _, b := range all {
		if b.where == inArena {
			bufs = append(bufs, b)
		}
	}
	slices.SortStableFunc(bufs, func(a, b *buffer) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.first, b.first))
	})
	if threads > 1 {
		centred := placeCentred(bufs)
		if tight := placeTight(bufs); centred > tight*3/2 {
			return tight
		}
		return placeCentred(bufs)
	}
	return placeTight(bufs)
}

// slot is a part of the arena whose buffers live one after another.
type slot struct {
	offset, size int
	bufs         []*buffer
}

// placeCentred puts buffers, the largest first, in the middle of slots as large
// as their first. Threads share a step by halves of its rows: a thread then
// finds in the slot's half the lines that its own cache has. Taking a line from
// another core's cache costs more than most steps spend on its bytes.
func placeCentred(bufs []*buffer) int {
	var slots []*slot
	total := 0
	for _, b := range bufs {
		var s *slot
		for _, t := range slices.Backward(slots) { // the smallest that is free
			if !slices.ContainsFunc(t.bufs, func(o *buffer) bool { return o.last >= b.first && b.last >= o.first }) {
				s = t
				break
			}
		}
		if s == nil {
			s = &slot{offset: total, size: align(b.size)}
			slots = append(slots, s)
			total += s.size
		}
		s.bufs = append(s.bufs, b)
		b.offset = s.offset + (s.size-align(b.size))/2&^(alignment-1)
	}
	return total
}

// placeTight places the largest first, each at the lowest offset that is free
// during its life (greedy by size, Pisarchyk and Lee 2020).
func placeTight(bufs []*buffer) int {
	total := 0
	placed := make([]*buffer, 0, len(bufs)) // by offset
	for _, b := range bufs {
		at := 0
		for _, p := range placed {
			if p.last < b.first || b.last < p.first {
				continue
			}
			if at+b.size <= p.offset {
				break
			}
			at = max(at, align(p.offset+p.size))
		}
		b.offset = at
		i, _ := slices.BinarySearchFunc(placed, b, func(p, q *buffer) int { return cmp.Compare(p.offset, q.offset) })
		placed = slices.Insert(placed, i, b)
		total = max(total, align(at+b.size))
	}
	return total
}
