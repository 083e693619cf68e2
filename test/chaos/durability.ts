import { outcomeOf, overlap, type Fault, type History, type Interval, type Request, type Run } from './history.ts'
import type { Milliseconds } from '../../lib/time.ts'

/**
 * How long after Redis has lost a revocation it is back there, once Redis and a replica that knew it run undisturbed:
 * up to a second each until the two connections of the replica try again and until its reading of the log does, a
 * quarter until its tick, half until its turn; and a quarter and two storeTimeouts for finding out and for writing.
 */
export const PUT_BACK: Milliseconds = 5000
/** What each entry adds. Measured: 1.2 ms, where Redis syncs each to the disk and the machine has little else to do. */
const PUT_BACK_EACH: Milliseconds = 2
/** How long all entries are kept but the ends of sessions, which outlive every run. */
const KEPT: Milliseconds = 70_000
/** How long the answer to a write may be on its way through two sockets and a busy process. */
const ANSWERED_WITHIN: Milliseconds = 25
/** Between the two clock readings that a sample is made of, and a moment's own resolution. */
export const MEASURING: Milliseconds = 20

/** What Redis may have forgotten, by what the replicas said of themselves, and until when it may have. */
export class Durability {
  readonly #history: History
  readonly #losses: Fault[]
  /** When each revocation was acknowledged, and when each end of a session. */
  readonly #revoked: Milliseconds[]
  readonly #ended: Milliseconds[]

  constructor (history: History) {
    this.#history = history
    const revocations = history.requests.filter((request) => request.target !== undefined && outcomeOf(request) === 'accepted')
    this.#revoked = momentsOf(revocations)
    this.#ended = momentsOf(revocations.filter(({ target }) => target!.kind === 'session'))
    this.#losses = history.faults.filter(({ loses }) => loses).sort((a, b) => a.from - b.from)
  }

  /** Whether Redis may have lost by `until` what was written within an interval. A copy from after it has it. */
  mayLose (written: Interval, until: Milliseconds): boolean {
    return this.#losses.some((loss) => overlap(loss, { from: written.from, to: until }) && !(written.to < copiedAt(loss)))
  }

  /**
   * Whether the acknowledged revocation may be unknown to the process of a request, because Redis lost it. Who
   * refreshes asks Redis, whatever its mode is.
   */
  mayBeForgotten (revocation: Request, use: Request, mode = this.#history.runs[use.run]!.mode): boolean {
    const losses = this.#losses.filter((loss) => loss.to >= revocation.from && loss.from <= use.to)
    if (losses.length === 0) return false
    const own = this.#history.runs[revocation.run]!
    /** The replicas that know it, and since when: they never forget it. */
    const knowing = new Map<Run, Milliseconds>()
    // A replica knows what it revokes itself. Of `others` it leaves out those that it takes for revoked.
    if (own.mode === 'replica' && revocation.target?.kind !== 'others' && !revocation.isDerived) knowing.set(own, revocation.to)
    let inLog = revocation.to
    let inKeys = revocation.to
    let since = revocation.to
    /** What was there before each loss, from when on. */
    const times: Array<{ inLog: Milliseconds, inKeys: Milliseconds }> = []
    for (let i = -1; i < losses.length; i++) {
      const loss = losses[i]
      const end = losses[i + 1]?.from ?? use.to
      if (loss !== undefined) {
        // What was there when the copy was taken is there again.
        const copied = copiedAt(loss)
        const then = times[losses.slice(0, i).filter(({ to }) => to < copied).length]
        inKeys = then !== undefined && then.inKeys < copied ? loss.to : Infinity
        // A loss in the midst of a revocation may come between its two writes: the log can have it, and the keys not.
        // One that lasted longer, or until just before the answer, may have come after both.
        const isBefore = loss.to + ANSWERED_WITHIN < revocation.to
        inLog = isBefore ? revocation.to : then !== undefined && then.inLog < copied ? loss.to : Infinity
        since = Math.max(loss.to, revocation.to)
      }
      this.#learn(knowing, inLog, end)
      if (inKeys === Infinity) {
        inKeys = this.#putBackAt(knowing, since, end)
        if (inLog === Infinity) {
          inLog = inKeys
          this.#learn(knowing, inLog, end)
        }
      }
      times.push({ inLog, inKeys })
    }
    const run = this.#history.runs[use.run]!
    if (mode === 'strict') return inKeys >= use.from
    if ((knowing.get(run) ?? Infinity) < use.from) return false
    return Math.max(inLog, inKeys) + this.#history.maxStaleness + MEASURING >= use.from
  }

  /** Who was in step at or after `inLog`, and said so before Redis lost it: a read on its way may have come too late. */
  #learn (knowing: Map<Run, Milliseconds>, inLog: Milliseconds, end: Milliseconds) {
    for (const run of this.#history.runs) {
      if (knowing.has(run)) continue
      const sample = run.samples.find(({ inStepAt }) => inStepAt - MEASURING >= inLog)
      if (sample !== undefined && sample.at < end) knowing.set(run, sample.at)
    }
  }

  /** The first moment before `end` by which one of them had its time undisturbed. */
  #putBackAt (knowing: Map<Run, Milliseconds>, since: Milliseconds, end: Milliseconds): Milliseconds {
    const moments = [...knowing].map(([run, known]) => this.undisturbed(run, Math.max(since, known)))
    const first = Math.min(...moments)
    return first < end ? first : Infinity
  }

  /**
   * By when a process that lived so long has had the time to put back all in peace, with Redis and with its connection; else Infinity.
   * A wrong clock disturbs nothing: not by it is decided what is over.
   */
  undisturbed (run: Run, since: Milliseconds): Milliseconds {
    const entries = countUpTo(since, this.#revoked) - countUpTo(since - KEPT, this.#revoked) + countUpTo(since - KEPT, this.#ended)
    const takes = PUT_BACK + PUT_BACK_EACH * entries
    const disturbances = [
      ...this.#history.faults.filter(({ on, kind }) => on === 'redis' || (on === run.member && kind !== 'clock ahead')),
      ...this.#history.stalls,
      ...run.stalls
    ].sort((a, b) => a.from - b.from)
    let quietFrom = since
    for (const { from, to } of disturbances) {
      if (from > quietFrom + takes) break
      quietFrom = Math.max(quietFrom, to)
    }
    return quietFrom + takes < run.to ? quietFrom + takes : Infinity
  }
}

/** What was acknowledged before this moment is in the copy that Redis went on with. A loss without a copy keeps nothing. */
function copiedAt ({ copied }: Fault): Milliseconds {
  return copied?.from ?? -Infinity
}

function momentsOf (requests: Request[]): Milliseconds[] {
  return requests.map(({ to }) => to).sort((a, b) => a - b)
}

/** How many of the sorted moments have come by then. */
function countUpTo (moment: Milliseconds, moments: Milliseconds[]): number {
  let [low, high] = [0, moments.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (moments[middle]! <= moment) low = middle + 1
    else high = middle
  }
  return low
}
