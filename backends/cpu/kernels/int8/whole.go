//go:build amd64 || arm64

package int8

import "unsafe"

// The kernels on 128 and 256 bits take whole vectors; plain Go takes the rest.

func wholeFinish(vectors, rest func(*finishArgs), size int) func(*finishArgs) {
	return func(a *finishArgs) {
		vectors(a)
		done := a.cols &^ 7
		if done == a.cols {
			return
		}
		a.sums, a.mult = unsafe.Add(a.sums, 4*done), unsafe.Add(a.mult, 4*done)
		a.y = unsafe.Add(a.y, size*done)
		if a.x2 != nil {
			a.x2 = unsafe.Add(a.x2, done)
		}
		a.cols -= done
		rest(a)
	}
}

func wholePairs(vectors func(*pairArgs), sum func(p *pairArgs, a, b uint8) int32) func(*pairArgs) {
	rest := pairBytes(sum)
	return func(p *pairArgs) {
		vectors(p)
		if done := p.n &^ 7; done < p.n {
			q := *p
			q.y, q.a, q.b, q.n = unsafe.Add(p.y, done), unsafe.Add(p.a, done), unsafe.Add(p.b, done*p.bStep()), p.n-done
			*p, q = q, *p
			rest(p)
			*p = q
		}
	}
}

func wholeConvert(vectors, rest func(*convertArgs), per, inBytes, outBytes int) func(*convertArgs) {
	return func(a *convertArgs) {
		vectors(a)
		if done := a.n / per * per; done < a.n {
			a.x, a.y, a.n = unsafe.Add(a.x, done*inBytes), unsafe.Add(a.y, done*outBytes), a.n-done
			rest(a)
		}
	}
}

func wholeWindow(vectors, rest func(*windowArgs), per, outBytes int) func(*windowArgs) {
	return func(a *windowArgs) {
		count := a.count // which the vectors' loop takes to 0
		vectors(a)
		if done := a.n / per * per; done < a.n {
			a.x, a.y, a.n, a.count = unsafe.Add(a.x, done), unsafe.Add(a.y, done*outBytes), a.n-done, count
			rest(a)
		}
	}
}

// wholeMax takes columns by 32, then by eight; the last eight may be some of
// those before once more. Fewer than eight are left to plain Go.
func wholeMax(by32, by8 func(*windowArgs)) func(*windowArgs) {
	return func(a *windowArgs) {
		x, y, n, count := a.x, a.y, a.n, a.count
		from := n &^ 31
		if from > 0 {
			by32(a)
		}
		for from < n {
			cols, f := (n-from)&^7, by8
			switch {
			case cols > 0:
			case n >= 8:
				from, cols = n-8, 8
			default:
				cols, f = n-from, maxPortable
			}
			a.x, a.y, a.n, a.count = unsafe.Add(x, from), unsafe.Add(y, from), cols, count
			f(a)
			from += cols
		}
	}
}

func wholeRange(vectors func(*rangeArgs)) func(*rangeArgs) {
	return func(a *rangeArgs) {
		n, x := a.n, a.x
		a.n = n &^ 7
		vectors(a)
		if a.n < n {
			lo, hi, top := a.lo, a.hi, a.top
			a.x, a.n = unsafe.Add(x, 4*a.n), n-a.n
			rangePortable(a)
			a.lo, a.hi, a.top = min(a.lo, lo), max(a.hi, hi), max(a.top, top)
		}
		a.x, a.n = x, n
	}
}

func wholeFinishRows(vectors func(*rowsArgs), per int) func(*rowsArgs) {
	return func(a *rowsArgs) {
		vectors(a)
		if done := a.cols / per * per; done < a.cols {
			b := *a
			b.sums, b.y = unsafe.Add(a.sums, 4*done), unsafe.Add(a.y, 4*done)
			b.mult, b.bias, b.colSums = unsafe.Add(a.mult, 4*done), unsafe.Add(a.bias, 4*done), unsafe.Add(a.colSums, 4*done)
			b.cols -= done
			*a, b = b, *a
			finishRowsPortable(a)
			*a = b
		}
	}
}
