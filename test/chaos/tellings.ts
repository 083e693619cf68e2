import { shown } from './clocks.ts'
import type { Durability } from './durability.ts'
import { outcomeOf, overlap, type History, type Names, type Request, type Run, type Telling, type Token } from './history.ts'
import { cutoffOf, namesIn, type Revocations } from './revocations.ts'
import type { Sessions } from './sessions.ts'

export type TellingKind = 'told twice' | 'not told' | 'told and never revoked'

export interface Mistold {
  kind: TellingKind
  run: Run
  /** The revocation that nobody told. */
  request?: Request
  token?: Token
  telling?: Told
  /** The one before it. */
  before?: Told
}

export interface Told extends Telling {
  /** Index of the life of the process that told. */
  run: number
}

/**
 * Each revocation is told once (P11): by the process that made it. A call without an answer leaves its process owing:
 * what it knows then is what stands in Redis, and that may be the work of another one that was asked as well.
 */
export class Tellings {
  readonly #history: History
  readonly #durability: Durability
  readonly #revocations: Revocations
  readonly #tokens: Map<string, Token>
  readonly #byToken: Map<string, Told[]>
  readonly #sessions: Sessions
  readonly #byCutoff: Map<string, Told[]>
  /** How many were told by two processes because one of them could not know that the other made it. */
  knownTwice = 0

  constructor (history: History, durability: Durability, revocations: Revocations, tokens: Map<string, Token>, sessions: Sessions) {
    this.#history = history
    this.#sessions = sessions
    this.#durability = durability
    this.#revocations = revocations
    this.#tokens = tokens
    const all = history.runs
      .flatMap(({ tellings }, run) => tellings.map((telling) => ({ ...telling, run })))
      .sort((a, b) => a.at - b.at)
    this.#byToken = groupedBy(all.filter(({ jti }) => jti !== undefined), ({ jti }) => jti!)
    const ofCutoffs = all.filter(({ jti, cutoff }) => jti === undefined && typeof cutoff === 'number')
    this.#byCutoff = groupedBy(ofCutoffs, (telling) => cutoffName(telling, telling.cutoff!))
  }

  check (): Mistold[] {
    const found: Mistold[] = []
    for (const told of [...this.#byToken.values(), ...this.#byCutoff.values()]) {
      for (const [i, telling] of told.entries()) {
        const run = this.#history.runs[telling.run]!
        const token = this.#tokens.get(telling.jti ?? '')
        const before = told[i - 1]
        const about = { run, telling, ...(token && { token }) }
        if (this.#causesOf(telling).length === 0) found.push({ kind: 'told and never revoked', ...about })
        else if (before !== undefined && !this.#mayRepeat(before, telling)) found.push({ kind: 'told twice', ...about, before })
      }
    }
    for (const request of [...this.#history.requests, ...this.#sessions.derived]) {
      if (request.target !== undefined && !request.mayBeSilent && outcomeOf(request) === 'accepted') found.push(...this.#untold(request))
    }
    return found
  }

  #untold (request: Request): Mistold[] {
    const { target } = request
    const run = this.#history.runs[request.run]!
    const untold = (token?: Token): Mistold => ({ kind: 'not told', run, request, ...(token && { token }) })
    switch (target!.kind) {
      case 'token': {
        const token = this.#tokens.get(target!.jti)!
        return this.#isTokenTold(token, request) ? [] : [untold(token)]
      }
      case 'subject':
      case 'session':
      case 'claim': return this.#isCutoffTold(request) ? [] : [untold()]
      case 'others': {
        const { sub } = target!
        // What a cutoff ends is left out.
        const isLeftOut = (token: Token) => this.#revocations.cutoffsOf(token).some(({ from }) => from <= request.to)
        const { to } = shown(this.#history, run, request)
        return this.#history.tokens
          .filter((token) => token.sub === sub && !token.isRefreshable && token.exp * 1000 > to && this.#revocations.revokes(request, token) === 'yes')
          .filter((token) => !isLeftOut(token) && !this.#isTokenTold(token, request))
          .map(untold)
      }
    }
  }

  /** The end of its session, or of its tenant, writes nothing under its jti. */
  #isTokenTold ({ jti, sub }: Token, request: Request): boolean {
    return this.#byToken.has(jti) ||
      this.#revocations.of({ jti, sub }).some((other) => other.from <= request.to && this.#owedInVain(other))
  }

  #isCutoffTold (request: Request): boolean {
    const target = request.target!
    const cutoff = cutoffOf(request)
    if (this.#byCutoff.has(cutoffName(target, cutoff))) return true
    const isOfIt = (telling: Telling) => telling.jti === undefined && cutoffName(telling, 0) === cutoffName(target, 0)
    // Somebody else set it, and owes it still, or told what stood when it was settled: that may have been a later one.
    return this.#revocations.cutoffsOf(target)
      .filter((other) => other.from <= request.to && outcomeOf(other) !== 'accepted')
      .some((other) => this.#owedInVain(other) || this.#history.runs[other.run]!.tellings.some((telling) =>
        isOfIt(telling) && telling.at >= other.from && telling.cutoff! >= cutoff))
  }

  /** Whether a process may have ended before it could tell what it owed. */
  #owedInVain (revocation: Request): boolean {
    if (outcomeOf(revocation) === 'accepted') return false
    return this.#durability.undisturbed(this.#history.runs[revocation.run]!, revocation.to) === Infinity
  }

  /** What the process was asked that can have made it. */
  #causesOf ({ jti, sub = this.#tokens.get(jti ?? '')?.sub, sid, tenant, at, run, by }: Told): Request[] {
    const all = jti === undefined
      ? [...this.#revocations.cutoffsOf({ sub, sid, tenant }), ...this.#sessions.refusalsOf(sid)]
      : this.#revocations.of({ jti, sub, sid })
    // Of a log-in without an answer nobody knows the session: whoever ends its subject's finds it.
    if (sid !== undefined && !this.#sessions.has(sid)) all.push(...this.#revocations.of({ sub: by }))
    return all.filter((request) => request.run === run && request.from <= at)
  }

  #mayRepeat (before: Told, telling: Told): boolean {
    const since = Math.min(...this.#causesOf(before).map(({ from }) => from), before.at)
    // What Redis has lost is revoked anew.
    if (this.#durability.mayLose({ from: since, to: before.at }, telling.at)) return true
    if (before.run === telling.run) return false
    const isKnown = [...this.#causesOf(before), ...this.#causesOf(telling)].some((request) => this.#mayTakeForOwn(request, telling))
    if (isKnown) this.knownTwice++
    return isKnown
  }

  /**
   * A process that owes, or whose client sent a write again over another connection, takes a revocation of its own second
   * for its own, and every cutoff.
   */
  #mayTakeForOwn (request: Request, { revokedAt }: Told): boolean {
    if (outcomeOf(request) === 'accepted' && !this.#isDisturbed(request)) return false
    if (revokedAt === undefined) return true
    const { from, to } = shown(this.#history, this.#history.runs[request.run]!, request)
    return Math.floor(from / 1000) <= revokedAt && revokedAt <= to / 1000
  }

  #isDisturbed (request: Request): boolean {
    const { member } = this.#history.runs[request.run]!
    return this.#history.faults.some((fault) => (fault.on === 'redis' || fault.on === member) && overlap(fault, request))
  }
}

/** `names`: exactly one, of a subject, a session or a tenant. */
function cutoffName (names: Names, cutoff: number): string {
  return `${cutoff} ${namesIn(names).join()}`
}

function groupedBy<T> (all: T[], name: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of all) {
    const group = groups.get(name(one))
    if (group === undefined) groups.set(name(one), [one])
    else group.push(one)
  }
  return groups
}
