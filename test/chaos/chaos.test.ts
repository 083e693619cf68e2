import t from 'tap'
import { check, UNVERIFIED } from './checker.ts'
import { MEASURING, PUT_BACK } from './durability.ts'
import {
  EVERY_IAT, outcomeOf, type Ahead, type Fault, type History, type Request, type Run, type Target, type Telling, type Token
} from './history.ts'
import {
  clockOf, commandOf, COMMANDS, FAULTS, LINK_FAULTS, MAX_SIGNING_AHEAD, plan, PROCESS_FAULTS, thingOf, type FaultKind, type PlannedFault
} from './plan.ts'
import { Member } from './member.ts'
import { Random } from './random.ts'

const [STRICT, REPLICA, OTHER_REPLICA] = [0, 1, 2]
const STALENESS = 1000
const GRACE = 2000
const IAT = 100

const REFUSED = { status: 401, code: 'FST_JWT_REVOKED' }
const EXPIRED = { status: 401, code: 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' }
const UNAVAILABLE = { status: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', retryAfter: '1' }
const FORBIDDEN = { status: 403, code: 'FST_JWT_REVOCATION_FORBIDDEN' }
const UNREACHABLE = { status: 0, error: 'ECONNRESET' }

type Answer = Partial<Request>
const request = (run: number, from: number, more: Answer): Request => ({ run, from, to: from + 10, what: '', turns: 1, status: 200, ...more })
const use = (run: number, from: number, answer: Answer = {}) => request(run, from, { jti: 'a', ...answer })
const revoke = (from: number, answer: Answer = {}, target: Target = { kind: 'token', jti: 'a' }) =>
  request(STRICT, from, { jti: 'b', turns: 2, target, ...answer })
const cutOff = (from: number, cutoff: number, answer: Answer = {}) => revoke(from, { cutoff, ...answer }, { kind: 'subject', sub: 's' })
const others = (from: number, answer: Answer = {}) => revoke(from, answer, { kind: 'others', sub: 's' })
const endSession = (from: number, answer: Answer = {}) => revoke(from, answer, { kind: 'session', sid: 'x' })
const endTenant = (from: number, cutoff: number, answer: Answer = {}) => revoke(from, { cutoff, ...answer }, { kind: 'claim', tenant: 't' })
const logIn = (run: number, from: number, names: Request['names'], answer: Answer = {}) => request(run, from, { names: { sub: 's', ...names }, ...answer })
const flushed = (from: number): Fault => ({ kind: 'everything flushed', on: 'redis', from, to: from + 10, loses: true })
const fault = (kind: string, on: string, from: number, to: number): Fault => ({ kind, on, from, to })

/** Redis goes on with what it held at a moment. */
const restored = (from: number, copied: number): Fault => ({ ...flushed(from), kind: 'log restored', copied: { from: copied, to: copied + 5 } })
const ahead = (seconds: number, until = Infinity): Ahead => ({ by: seconds * 1000, until })
/** Told by the process of that number. */
type Said = Telling & { run: number }
const told = (run: number, at: number, more: Partial<Telling> = { jti: 'a', revokedAt: IAT }): Said => ({ run, at, ...more })
const endTold = (run: number, at: number, sid = 'x'): Said => told(run, at, { sid, cutoff: EVERY_IAT })
const tenantTold = (run: number, at: number, cutoff = IAT): Said => told(run, at, { tenant: 't', cutoff })
const cutoffTold = (run: number, at: number, cutoff = IAT): Said => told(run, at, { sub: 's', cutoff })

interface More {
  faults?: Fault[]
  runs?: Record<number, Partial<Run>>
  samples?: number
  tokens?: Record<string, Partial<Token>>
  /** Default: each acknowledged revocation is told once. */
  tellings?: Said[]
}

/** Three tokens of one subject, the late one from after 5 s. The replicas are in step every 50 ms unless `samples` says how long. */
function history (requests: Request[], { faults = [], runs = {}, samples = 30_000, tokens = {}, tellings = once(requests) }: More = {}): History {
  const inStep = Array.from({ length: samples / 50 }, (_, i) => ({ at: 50 * i + 5, inStepAt: 50 * i }))
  const run = (member: string, index: number): Run => ({
    member,
    mode: index === STRICT ? 'strict' : 'replica',
    from: 0,
    to: Infinity,
    stalls: [],
    stderr: '',
    samples: index === STRICT ? [] : inStep,
    tellings: tellings.filter(({ run }) => run === index),
    ...runs[index]
  })
  const token = (jti: string, issue = 0, iat = IAT): Token => ({ jti, id: jti, sub: 's', iat, exp: 130, lifetime: 30, issue, ...tokens[jti] })
  const issues = [request(STRICT, 0, { names: { sub: 's' } }), request(STRICT, 5000, { names: { sub: 's' } })]
  return {
    started: 0,
    epoch: 100_000,
    storeTimeout: 300,
    maxStaleness: STALENESS,
    grace: GRACE,
    runs: ['strict', 'replica', 'other replica'].map(run),
    faults,
    stalls: [],
    tokens: [token('a'), token('b'), token('late', 1, IAT + 1)],
    requests: [...issues, ...requests]
  }
}

function once (requests: Request[]): Said[] {
  const tellings = new Map<string, Said>()
  for (const { run, from, to, jti, target, cutoff, ...answer } of requests) {
    if (target === undefined || outcomeOf({ run, from, to, ...answer }) !== 'accepted') continue
    const ended = target.kind === 'token' ? [target.jti] : target.kind === 'others' ? ['a', 'b', ...from > 5000 ? ['late'] : []] : []
    if (target.kind === 'subject') tellings.set(String(cutoff), cutoffTold(run, to - 1, cutoff))
    if (target.kind === 'session') tellings.set('session', endTold(run, to - 1, target.sid))
    if (target.kind === 'claim') tellings.set(`tenant ${cutoff}`, tenantTold(run, to - 1, cutoff))
    for (const one of ended) if (one !== jti || target.kind === 'token') tellings.set(one, told(run, to - 1, { jti: one, revokedAt: IAT }))
  }
  return [...tellings.values()]
}

const late = { jti: 'late' }
const other = { jti: 'b' }
/** Of the three tokens two are of the session, or of the tenant. */
const session = { a: { sid: 'x' }, b: { sid: 'y' }, late: { sid: 'x' } }
const tenant = { a: { tenant: 't' }, b: { tenant: 'u' }, late: { tenant: 't' } }
const signedLate = { ...session, late: { sid: 'x', isForeign: true } }
const foreign = { late: { isForeign: true } }
const later = { late: { iat: IAT + 2 } }
const ACCEPTED = 'accepted after its revocation'
const NEVER = 'refused and never revoked'
const LONG = 'lived too long'
const FAR = 'too far ahead'
const TWICE = 'told twice'
const NOT_TOLD = 'not told'
const UNASKED = 'told and never revoked'
const GIVEN = 'given and already revoked'
const ODD = 'unexpected answer'
const known = STALENESS + MEASURING + 100
const back = PUT_BACK + 1200

const HISTORIES: Array<[what: string, history: History, ...violations: string[]]> = [
  ['used and never revoked', history([use(STRICT, 100), use(REPLICA, 100)])],
  ['refused after its revocation', history([revoke(100), use(STRICT, 120, REFUSED), use(REPLICA, 120, REFUSED)])],
  ['accepted by a strict process', history([revoke(100), use(STRICT, 111)]), ACCEPTED],
  ['accepted by a strict process while it is revoked', history([revoke(100), use(STRICT, 109)])],
  ['accepted by a replica within its staleness', history([revoke(100), use(REPLICA, 1100)])],
  ['accepted by a replica after it', history([revoke(100), use(REPLICA, 1131)]), ACCEPTED],
  ['let in, and forbidden then', history([revoke(100), use(STRICT, 200, { ...FORBIDDEN, target: { kind: 'token', jti: 'b' } })], { faults: [flushed(50)] }), ACCEPTED],
  ['unavailable', history([revoke(100), use(STRICT, 200, UNAVAILABLE)])],
  ['an acknowledgement that did not come leaves both', history([revoke(100, UNAVAILABLE), use(STRICT, 200), use(STRICT, 300, REFUSED), use(STRICT, 400)])],
  ['nor did that of a connection', history([revoke(100, { run: REPLICA, ...UNREACHABLE }), use(STRICT, 200), use(STRICT, 300, REFUSED)], { runs: { [REPLICA]: { to: 105 } } })],
  ['acknowledged the second time', history([revoke(100, UNAVAILABLE), revoke(200), use(STRICT, 300)]), ACCEPTED],
  ['refused and never revoked', history([use(STRICT, 100, REFUSED)]), NEVER],
  ['refused before it is revoked', history([use(STRICT, 100, REFUSED), revoke(200)]), NEVER],
  ['refused for a revocation that was refused', history([revoke(100, REFUSED), use(STRICT, 200, REFUSED), revoke(300)]), NEVER, NEVER],
  ['an expired token passes where nobody verifies', history([revoke(100), use(STRICT, 29_990)])],
  ['accepted after its end', history([use(STRICT, 30_060)]), LONG],
  ['accepted after its end where nobody verifies', history([use(STRICT, 30_060, { what: UNVERIFIED })])],
  ['accepted after its end by who revokes', history([revoke(30_060)]), LONG],
  ['expired', history([use(STRICT, 30_000, EXPIRED)])],
  ['expired too early', history([use(STRICT, 29_000, EXPIRED)]), 'unexpected answer'],

  ['cut off', history([cutOff(100, IAT), use(STRICT, 200, REFUSED)])],
  ['cut off and accepted', history([cutOff(100, IAT), use(STRICT, 200)]), ACCEPTED],
  ['from after the cutoff', history([cutOff(100, IAT), use(STRICT, 6000, late)])],
  ['from after the cutoff and refused', history([cutOff(100, IAT), use(STRICT, 6000, { ...late, ...REFUSED })]), NEVER],
  ['a cutoff that was not acknowledged', history([cutOff(100, NaN, UNAVAILABLE), use(STRICT, 200, REFUSED), use(STRICT, 300)])],
  ['given from before a cutoff', history([cutOff(100, IAT + 1)]), 'given and already revoked'],
  ['given from before a cutoff that Redis lost', history([cutOff(100, IAT + 1)], { faults: [flushed(200)] })],
  ['the others end', history([others(100), use(STRICT, 200, REFUSED), use(STRICT, 200, { jti: 'b' })])],
  ['one of the others does not', history([others(100), use(STRICT, 200)]), ACCEPTED],
  ['the one that speaks ends with them', history([others(100), use(STRICT, 200, { jti: 'b', ...REFUSED })]), NEVER],
  ['a later one is none of the others', history([others(100), use(STRICT, 6000, late)])],
  ['a later one ends with the others', history([others(100), use(STRICT, 6000, { ...late, ...REFUSED })]), NEVER],
  ['the others of which the records are lost', history([others(100), use(STRICT, 200), use(STRICT, 200, REFUSED)], { faults: [flushed(50)] })],

  ['a strict process accepts what Redis lost', history([revoke(100), use(STRICT, known + 50)], { faults: [flushed(known)] })],
  ['and so it does until it is put back', history([revoke(100), use(STRICT, back - 100)], { faults: [flushed(known)] })],
  ['and not longer', history([revoke(100), use(STRICT, back)], { faults: [flushed(known)] }), ACCEPTED],
  ['before the loss', history([revoke(100), use(STRICT, 200)], { faults: [flushed(known)] }), ACCEPTED],
  ['lost before it was revoked', history([revoke(100), use(STRICT, 200)], { faults: [flushed(50)] }), ACCEPTED],
  ['while it is disturbed it has time', history([revoke(100), use(STRICT, back)], {
    faults: [flushed(known), fault('link delayed', 'replica', 2000, 3000), fault('process paused', 'other replica', 3000, 4000)]
  })],
  ['one that is not disturbed is enough', history([revoke(100), use(STRICT, back)], {
    faults: [flushed(known), fault('link delayed', 'replica', 2000, 3000), fault('process paused', 'strict', 3000, 4000)]
  }), ACCEPTED],
  ['lost before any replica knew', history([revoke(100), use(STRICT, 20_000), use(REPLICA, 20_000)], { faults: [flushed(120)] })],
  ['all that knew it are gone', history([revoke(100), use(STRICT, 20_000)], {
    faults: [flushed(known)], runs: { [REPLICA]: { to: 1400 }, [OTHER_REPLICA]: { to: 1400 } }
  })],
  ['a replica that knew it', history([revoke(100), use(REPLICA, known + 50)], { faults: [flushed(known)] }), ACCEPTED],
  ['a replica that did not, but revoked it itself', history([revoke(100, { run: REPLICA }), use(REPLICA, known + 50), use(OTHER_REPLICA, known + 50)], {
    faults: [flushed(120)], samples: 50
  }), ACCEPTED],
  ['a replica that has not said so since', history([revoke(100), use(REPLICA, 20_000)], { faults: [flushed(known)], samples: 100 })],
  ['a replica that started after the loss', history([revoke(100), use(REPLICA, back), use(REPLICA, back + STALENESS + 100)], {
    faults: [flushed(known)], runs: { [REPLICA]: { from: 1300, samples: [] } }
  }), ACCEPTED],
  ['lost twice', history([revoke(100), use(STRICT, back)], { faults: [flushed(known), flushed(back - 500)] })],
  ['lost just before its answer', history([revoke(100, { to: 200 }), use(STRICT, 20_000)], { faults: [flushed(170)] })],
  ['lost while it was revoked', history([revoke(100, { to: 200 }), use(STRICT, 5000), use(STRICT, 20_000)], { faults: [flushed(150)] }), ACCEPTED],

  ['Redis goes on with an older copy', history([revoke(100), use(STRICT, known + 50)], { faults: [restored(known, 50)] })],
  ['and has what was lost put back', history([revoke(100), use(STRICT, back)], { faults: [restored(known, 50)] }), ACCEPTED],
  ['Redis goes on with a copy that was taken meanwhile', history([revoke(100), use(STRICT, known + 50)], { faults: [restored(known, 105)] })],
  ['Redis goes on with a copy that has it', history([revoke(100), use(STRICT, known + 50)], { faults: [restored(known, 150)] }), ACCEPTED],
  ['with a copy of what had been lost', history([revoke(100), use(STRICT, known + 250)], { faults: [flushed(known), restored(known + 200, known + 100)] })],
  ['with a copy from before that loss', history([revoke(100), use(STRICT, known + 250)], { faults: [flushed(known), restored(known + 200, known - 100)] }), ACCEPTED],
  ['with a copy of what had been put back', history([revoke(100), use(STRICT, back + 250)], { faults: [flushed(known), restored(back + 200, back)] }), ACCEPTED],
  ['with copies of copies', history([revoke(100), use(STRICT, known + 450)], {
    faults: [flushed(known), restored(known + 200, known - 100), restored(known + 400, known + 300)]
  }), ACCEPTED],
  ['a replica learns of it from the copy', history([revoke(100), use(REPLICA, 7000), use(STRICT, 7000)], { faults: [flushed(130), restored(200, 120)], runs: { [REPLICA]: { from: 300 } } }), ACCEPTED, ACCEPTED],
  ['given from before a cutoff that the copy has', history([cutOff(100, IAT + 1)], { faults: [restored(200, 150)] }), 'given and already revoked'],
  ['given from before a cutoff that the copy has not', history([cutOff(100, IAT + 1)], { faults: [restored(200, 105)] })],
  ['forbidden because the copy has no record', history([revoke(100, FORBIDDEN)], { faults: [restored(50, 5)] })],
  ['forbidden, and the copy has the record', history([revoke(100, FORBIDDEN)], { faults: [restored(50, 20)] }), 'unexpected answer'],
  ['the others of which the copy has the records', history([others(100), use(STRICT, 200)], { faults: [restored(50, 20)] }), ACCEPTED],

  ['by a clock that is ahead it has expired', history([use(STRICT, 20_010, EXPIRED)], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['by a clock that is ahead it has not', history([use(STRICT, 19_000, EXPIRED)], { runs: { [STRICT]: { ahead: ahead(10) } } }), 'unexpected answer'],
  ['by a clock that is right again it has not', history([use(STRICT, 20_010, EXPIRED)], { runs: { [STRICT]: { ahead: ahead(10, 20_000) } } }), 'unexpected answer'],
  ['while the clock is set right both may be', history([use(STRICT, 20_010, EXPIRED), use(STRICT, 20_010)], { runs: { [STRICT]: { ahead: ahead(10, 20_015) } } })],
  ['by another clock it has not', history([use(REPLICA, 20_010, EXPIRED)], { runs: { [STRICT]: { ahead: ahead(10) } } }), 'unexpected answer'],
  ['accepted after its end by a clock that is ahead', history([use(STRICT, 20_060)], { runs: { [STRICT]: { ahead: ahead(10) } } }), LONG],
  ['accepted after its revocation by a clock that is ahead', history([revoke(100), use(STRICT, 19_000)], { runs: { [STRICT]: { ahead: ahead(10) } } }), ACCEPTED],
  ['a clock that is ahead puts back', history([revoke(100), use(STRICT, back)], {
    faults: [flushed(known), { ...fault('clock ahead', 'replica', 0, Infinity) }], runs: { [REPLICA]: { ahead: ahead(10) }, [OTHER_REPLICA]: { to: 5 } }
  }), ACCEPTED],
  ['ends later than it was asked to', history([], { tokens: { a: { exp: 131 } } }), LONG],
  ['ends as late as it was asked to for its late second', history([], { tokens: { late: { exp: 135 } } })],
  ['ends later because the clock of its signer is ahead', history([], { tokens: { a: { iat: 110, exp: 140 } }, runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['ends later although its clock is right again', history([], { tokens: { late: { iat: 110, exp: 145 } }, runs: { [STRICT]: { ahead: ahead(10, 4000) } } }), LONG],
  ['given for a second within the lead', history([], { tokens: { a: { iat: 105 } } })],
  ['given for a second beyond the lead', history([], { tokens: { a: { iat: 106 } } }), FAR],
  ['a cutoff within the lead', history([cutOff(100, 105)], { tokens: { late: { iat: 106 } } })],
  ['a cutoff beyond the lead', history([cutOff(100, 106)], { tokens: { late: { iat: 107 } } }), FAR],
  ['a cutoff by a clock that is ahead', history([cutOff(6000, 121)], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['a cutoff beyond the lead of a clock that is ahead', history([cutOff(6000, 122)], { runs: { [STRICT]: { ahead: ahead(10) } } }), FAR],
  ['a cutoff that a clock has set that was ahead', history([cutOff(6000, 121, UNAVAILABLE), cutOff(7000, 121, { run: REPLICA })], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['a cutoff that a clock could not set that is ahead', history([cutOff(7000, 121, { run: REPLICA }), cutOff(7020, 121, UNAVAILABLE)], { runs: { [STRICT]: { ahead: ahead(10) } } }), FAR],
  ['a log-in refused for such a cutoff', history([cutOff(6000, 110), request(REPLICA, 6100, { ...REFUSED, names: { sub: 's' } })], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['a log-in refused for no cutoff', history([request(REPLICA, 6100, { ...REFUSED, names: { sub: 's' } })], { runs: { [STRICT]: { ahead: ahead(10) } } }), 'unexpected answer'],
  ['a log-in refused for a cutoff of a right clock', history([cutOff(6000, 110), request(REPLICA, 6100, { ...REFUSED, names: { sub: 's' } })]), 'unexpected answer'],
  ['a log-in that the lead has no room for', history([request(REPLICA, 6100, { ...UNAVAILABLE, names: { sub: 's' } })])],
  ['ahead of the cutoff that it asks for', history([cutOff(200, IAT, late), use(STRICT, 6000, late)]), ACCEPTED],
  ['recorded, and ahead of the cutoff', history([cutOff(6000, IAT), use(STRICT, 6100, late)]), ACCEPTED],
  ['recorded, ahead of the cutoff, and refused', history([cutOff(6000, IAT), use(STRICT, 6100, { ...late, ...REFUSED })])],

  ['not told', history([revoke(100)], { tellings: [] }), NOT_TOLD],
  ['told by who did not do it', history([revoke(100)], { tellings: [told(REPLICA, 105)] }), UNASKED],
  ['told before it was asked for', history([revoke(100)], { tellings: [told(STRICT, 95)] }), UNASKED],
  ['told twice', history([revoke(100)], { tellings: [told(STRICT, 105), told(STRICT, 106)] }), TWICE],
  ['told three times', history([revoke(100), revoke(200)], { tellings: [told(STRICT, 105), told(STRICT, 205), told(STRICT, 207)] }), TWICE, TWICE],
  ['told by both that were asked', history([revoke(100), revoke(200, { run: REPLICA })], { tellings: [told(STRICT, 105), told(REPLICA, 205)] }), TWICE],
  ['told once of both', history([revoke(100), revoke(200, { run: REPLICA })], { tellings: [told(STRICT, 105)] })],
  ['told when what was owed is settled', history([revoke(100, UNAVAILABLE), revoke(200, { run: REPLICA })], { tellings: [told(STRICT, 1200)] })],
  ['told without an acknowledgement', history([revoke(100, UNAVAILABLE)], { tellings: [told(STRICT, 1200)] })],
  ['told by the process that owes and by the other, within the second', history([revoke(100, UNAVAILABLE), revoke(200, { run: REPLICA })], {
    tellings: [told(REPLICA, 205), told(STRICT, 1200)]
  })],
  ['told by both, but not of the same second', history([revoke(100, UNAVAILABLE), revoke(1200, { run: REPLICA })], {
    tellings: [told(REPLICA, 1205, { jti: 'a', revokedAt: IAT + 1 }), told(STRICT, 1300, { jti: 'a', revokedAt: IAT + 1 })]
  }), TWICE],
  ['told again by the process that owed', history([revoke(100, UNAVAILABLE), revoke(200)], { tellings: [told(STRICT, 205), told(STRICT, 1200)] }), TWICE],
  ['told again because Redis had lost it', history([revoke(100), revoke(300)], { tellings: [told(STRICT, 105), told(STRICT, 305)], faults: [flushed(200)] })],
  ['told again because the copy had it not', history([revoke(100), revoke(300)], { tellings: [told(STRICT, 105), told(STRICT, 305)], faults: [restored(200, 50)] })],
  ['told again although the copy had it', history([revoke(100), revoke(300)], { tellings: [told(STRICT, 105), told(STRICT, 305)], faults: [restored(200, 150)] }), TWICE],
  ['the process that owed is killed', history([revoke(100, { run: REPLICA, ...UNAVAILABLE }), revoke(200)], { tellings: [], runs: { [REPLICA]: { to: 5000 } } })],
  ['the process that owed is killed when it was to have told', history([revoke(100, { run: REPLICA, ...UNAVAILABLE }), revoke(200)], { tellings: [], runs: { [REPLICA]: { to: 6000 } } }), NOT_TOLD],
  ['a process that owed nothing is killed', history([revoke(100, { run: REPLICA, ...REFUSED }), revoke(200)], { tellings: [], runs: { [REPLICA]: { to: 5000 } } }), NOT_TOLD, NEVER],
  ['asked later, and killed', history([revoke(100), revoke(200, { run: REPLICA, ...UNAVAILABLE })], { tellings: [], runs: { [REPLICA]: { to: 5000 } } }), NOT_TOLD],
  ['the process that owes is disturbed until the end', history([revoke(100, UNAVAILABLE), revoke(200, { run: REPLICA })], {
    tellings: [], runs: { [STRICT]: { to: 6000 } }, faults: [fault('redis paused', 'redis', 1000, 2000)]
  })],

  ['a cutoff is not told', history([cutOff(100, IAT)], { tellings: [] }), NOT_TOLD],
  ['another cutoff is told', history([cutOff(100, IAT), cutOff(105, IAT + 1)], { tokens: later, tellings: [cutoffTold(STRICT, 110, IAT + 1)] }), NOT_TOLD],
  ['each cutoff is told', history([cutOff(100, IAT), cutOff(105, IAT + 1)], { tokens: later, tellings: [cutoffTold(STRICT, 105), cutoffTold(STRICT, 110, IAT + 1)] })],
  ['one cutoff for many calls', history([cutOff(100, IAT), cutOff(100, IAT), cutOff(100, IAT, { run: REPLICA })], { tellings: [cutoffTold(REPLICA, 105)] })],
  ['one cutoff told by two calls', history([cutOff(100, IAT), cutOff(100, IAT)], { tellings: [cutoffTold(STRICT, 105), cutoffTold(STRICT, 105)] }), TWICE],
  ['one cutoff told by two processes', history([cutOff(100, IAT), cutOff(100, IAT, { run: REPLICA })], { tellings: [cutoffTold(STRICT, 105), cutoffTold(REPLICA, 105)] }), TWICE],
  ['one cutoff told by two of which one may have sent it again', history([cutOff(100, IAT), cutOff(100, IAT, { run: REPLICA })], {
    tellings: [cutoffTold(STRICT, 105), cutoffTold(REPLICA, 105)], faults: [fault('link cut', 'replica', 90, 103)]
  })],
  ['one cutoff told by two of which one was cut off before', history([cutOff(100, IAT), cutOff(100, IAT, { run: REPLICA })], {
    tellings: [cutoffTold(STRICT, 105), cutoffTold(REPLICA, 105)], faults: [fault('link cut', 'replica', 50, 60)]
  }), TWICE],
  ['one cutoff told by two of which one owed it', history([cutOff(100, NaN, UNAVAILABLE), cutOff(200, IAT, { run: REPLICA })], {
    tellings: [cutoffTold(REPLICA, 205), cutoffTold(STRICT, 1200)]
  })],
  ['who owed tells the cutoff that stands', history([cutOff(100, NaN, UNAVAILABLE), cutOff(200, IAT, { run: REPLICA }), cutOff(300, IAT + 1, { run: REPLICA })], {
    tokens: later, tellings: [cutoffTold(REPLICA, 305, IAT + 1), cutoffTold(STRICT, 1200, IAT + 1)]
  })],
  ['who owed a cutoff is killed', history([cutOff(100, NaN, { run: REPLICA, ...UNAVAILABLE }), cutOff(200, IAT)], { tellings: [], runs: { [REPLICA]: { to: 5000 } } })],
  ['who owed a cutoff lives and tells nothing', history([cutOff(100, NaN, { run: REPLICA, ...UNAVAILABLE }), cutOff(200, IAT)], { tellings: [] }), NOT_TOLD],
  ['a cutoff told by nobody who was asked', history([others(100)], { tellings: [...once([others(100)]), cutoffTold(STRICT, 105)] }), UNASKED],
  ['a token that a cutoff ended by its jti', history([cutOff(6000, IAT, late)], { tellings: [cutoffTold(STRICT, 6005), told(STRICT, 6005, { jti: 'late', sub: 's', revokedAt: 106 })] })],
  ['a token nobody has, ended with its subject', history([others(6000)], { tellings: [...once([others(6000)]), told(STRICT, 6005, { jti: 'unknown', sub: 's', revokedAt: 106 })] })],
  ['one of the others is not told', history([others(100)], { tellings: [] }), NOT_TOLD],
  ['one of the others was cut off', history([cutOff(50, IAT), others(100, { run: REPLICA })], { tellings: [cutoffTold(STRICT, 55)] })],
  ['one of the others is from later', history([others(4900, { to: 5020 })], { tellings: [told(STRICT, 5015)] })],
  ['one of the others that has expired', history([others(29_995)], { tellings: [] })],

  ['refused in a session that ended', history([endSession(100), use(STRICT, 120, REFUSED), use(REPLICA, 120, REFUSED)], { tokens: signedLate })],
  ['accepted in a session that ended', history([endSession(100), use(STRICT, 120)], { tokens: signedLate }), ACCEPTED],
  ['accepted while its session ends', history([endSession(100), use(STRICT, 109)], { tokens: signedLate })],
  ['accepted by a replica that need not know the end yet', history([endSession(100), use(REPLICA, 1100)], { tokens: signedLate })],
  ['accepted by a replica that must know the end', history([endSession(100), use(REPLICA, 1131)], { tokens: signedLate }), ACCEPTED],
  ['signed elsewhere after the end, and refused', history([endSession(100), use(STRICT, 6000, { ...late, ...REFUSED })], { tokens: signedLate })],
  ['signed elsewhere after the end, and accepted', history([endSession(100), use(STRICT, 6000, late)], { tokens: signedLate }), ACCEPTED],
  ['signed elsewhere after the end, and accepted by a replica', history([endSession(100), use(REPLICA, 6000, late)], { tokens: signedLate }), ACCEPTED],
  ['given in a session that ended', history([endSession(100)], { tokens: session }), GIVEN],
  ['given in a session of which Redis lost the end', history([endSession(100)], { tokens: session, faults: [flushed(200)] })],
  ['given while the session ends', history([endSession(5005)], { tokens: session })],
  ['another session lives', history([endSession(100), use(STRICT, 200, other)], { tokens: signedLate })],
  ['another session ends with it', history([endSession(100), use(STRICT, 200, { ...other, ...REFUSED })], { tokens: signedLate }), NEVER],
  ['a token without a session ends with it', history([endSession(100), use(STRICT, 200, REFUSED)], { tokens: { b: { sid: 'x' } } }), NEVER],
  ['refused before its session ends', history([use(STRICT, 100, REFUSED), endSession(200)], { tokens: signedLate }), NEVER],
  ['refused because the end of its session was refused', history([endSession(100, REFUSED), use(STRICT, 200, REFUSED)], { tokens: session }), NEVER, NEVER],
  ['an end that was not acknowledged leaves both', history([endSession(100, UNAVAILABLE), use(STRICT, 200, REFUSED), use(STRICT, 300), use(STRICT, 6000, late)], { tokens: session })],
  ['the end that Redis lost', history([endSession(100), use(STRICT, known + 50)], { tokens: signedLate, faults: [flushed(known)] })],
  ['the end that was put back', history([endSession(100), use(STRICT, back)], { tokens: signedLate, faults: [flushed(known)] }), ACCEPTED],
  ['the end that a replica knew', history([endSession(100), use(REPLICA, known + 50)], { tokens: signedLate, faults: [flushed(known)] }), ACCEPTED],
  ['a log-in refused in a session that ended', history([endSession(100), logIn(STRICT, 200, { sid: 'x' }, REFUSED)])],
  ['a log-in refused in a session that may have ended', history([endSession(100, UNAVAILABLE), logIn(STRICT, 200, { sid: 'x' }, REFUSED)])],
  ['a log-in refused in another session', history([endSession(100), logIn(STRICT, 200, { sid: 'y' }, REFUSED)]), ODD],
  ['a log-in refused before its session ended', history([logIn(STRICT, 200, { sid: 'x' }, REFUSED), endSession(300)]), ODD],
  ['the end of a session is not told', history([endSession(100)], { tellings: [] }), NOT_TOLD],
  ['the end of another session is told', history([endSession(100)], { tellings: [endTold(STRICT, 105, 'y')] }), NOT_TOLD, UNASKED],
  ['the end of a session is told by who did not do it', history([endSession(100)], { tellings: [endTold(REPLICA, 105)] }), UNASKED],
  ['the end of a session is told twice', history([endSession(100), endSession(200)], { tellings: [endTold(STRICT, 105), endTold(STRICT, 205)] }), TWICE],
  ['the end of a session is told by both that were asked', history([endSession(100), endSession(200, { run: REPLICA })], { tellings: [endTold(STRICT, 105), endTold(REPLICA, 205)] }), TWICE],
  ['the end of a session is told by who owed it and by the other', history([endSession(100, UNAVAILABLE), endSession(200, { run: REPLICA })], { tellings: [endTold(REPLICA, 205), endTold(STRICT, 1200)] })],
  ['the end of a session is told again because Redis had lost it', history([endSession(100), endSession(300)], { tellings: [endTold(STRICT, 105), endTold(STRICT, 305)], faults: [flushed(200)] })],
  ['who owed the end of a session tells it', history([endSession(100, UNAVAILABLE), endSession(200, { run: REPLICA })], { tellings: [endTold(STRICT, 1200)] })],
  ['who owed the end of a session is killed', history([endSession(100, { run: REPLICA, ...UNAVAILABLE }), endSession(200)], { tellings: [], runs: { [REPLICA]: { to: 5000 } } })],
  ['one of the others was of a session that ended', history([endSession(50), others(100)], { tokens: signedLate, tellings: [endTold(STRICT, 55)] })],
  ['one of the others was of another session', history([endSession(50), others(100)], { tokens: { b: { sid: 'x' } }, tellings: [endTold(STRICT, 55)] }), NOT_TOLD, ACCEPTED],

  ['its tenant is cut off', history([endTenant(100, IAT), use(STRICT, 200, REFUSED), use(REPLICA, 200, REFUSED)], { tokens: tenant })],
  ['its tenant is cut off, and it is accepted', history([endTenant(100, IAT), use(STRICT, 200)], { tokens: tenant }), ACCEPTED],
  ['its tenant is cut off, as a replica need not know yet', history([endTenant(100, IAT), use(REPLICA, 1100)], { tokens: tenant })],
  ['its tenant is cut off, as a replica must know', history([endTenant(100, IAT), use(REPLICA, 1131)], { tokens: tenant }), ACCEPTED],
  ['from after the cutoff of its tenant', history([endTenant(100, IAT), use(STRICT, 6000, late)], { tokens: tenant })],
  ['from after the cutoff of its tenant, and refused', history([endTenant(100, IAT), use(STRICT, 6000, { ...late, ...REFUSED })], { tokens: tenant }), NEVER],
  ['ahead of the cutoff of its tenant that it asks for', history([endTenant(6000, IAT, late), use(STRICT, 6100, late)], { tokens: tenant })],
  ['ahead of the cutoff of its tenant, and refused', history([endTenant(6000, IAT, late), use(STRICT, 6100, { ...late, ...REFUSED })], { tokens: tenant }), NEVER],
  ['signed elsewhere in the second of the cutoff of its tenant', history([endTenant(100, IAT), use(STRICT, 6000, { ...late, ...REFUSED })], { tokens: { late: { tenant: 't', iat: IAT, isForeign: true } } })],
  ['signed elsewhere in that second, and accepted', history([endTenant(100, IAT), use(STRICT, 6000, late)], { tokens: { late: { tenant: 't', iat: IAT, isForeign: true } } }), ACCEPTED],
  ['given from before a cutoff of its tenant', history([endTenant(100, IAT + 1)], { tokens: tenant }), GIVEN],
  ['given from before a cutoff of another tenant', history([endTenant(100, IAT + 1)], { tokens: { late: { tenant: 'u' } } })],
  ['another tenant lives', history([endTenant(100, IAT), use(STRICT, 200, other)], { tokens: tenant })],
  ['another tenant is cut off with it', history([endTenant(100, IAT), use(STRICT, 200, { ...other, ...REFUSED })], { tokens: tenant }), NEVER],
  ['a session of the same name is cut off with it', history([endTenant(100, IAT), use(STRICT, 200, REFUSED)], { tokens: { a: { sid: 't' } } }), NEVER],
  ['a cutoff of its tenant that was not acknowledged', history([endTenant(100, NaN, UNAVAILABLE), use(STRICT, 200, REFUSED), use(STRICT, 300)], { tokens: tenant })],
  ['the cutoff of its tenant that Redis lost', history([endTenant(100, IAT), use(STRICT, known + 50)], { tokens: tenant, faults: [flushed(known)] })],
  ['the cutoff of its tenant that was put back', history([endTenant(100, IAT), use(STRICT, back)], { tokens: tenant, faults: [flushed(known)] }), ACCEPTED],
  ['a cutoff of a tenant beyond the lead', history([endTenant(100, 106)]), FAR],
  ['a cutoff of a tenant that a clock has set that was ahead', history([endTenant(6000, 121, UNAVAILABLE), endTenant(7000, 121, { run: REPLICA })], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['a log-in refused for the cutoff of a tenant by a clock that is ahead', history([endTenant(6000, 110), logIn(REPLICA, 6100, { tenant: 't' }, REFUSED)], { runs: { [STRICT]: { ahead: ahead(10) } } })],
  ['a log-in refused for the cutoff of another tenant', history([endTenant(6000, 110), logIn(REPLICA, 6100, { tenant: 'u' }, REFUSED)], { runs: { [STRICT]: { ahead: ahead(10) } } }), ODD],
  ['the cutoff of a tenant is not told', history([endTenant(100, IAT)], { tellings: [] }), NOT_TOLD],
  ['another cutoff of a tenant is told', history([endTenant(100, IAT), endTenant(105, IAT + 1)], { tellings: [tenantTold(STRICT, 110, IAT + 1)] }), NOT_TOLD],
  ['the cutoff of a tenant is told by two processes', history([endTenant(100, IAT), endTenant(100, IAT, { run: REPLICA })], { tellings: [tenantTold(STRICT, 105), tenantTold(REPLICA, 105)] }), TWICE],
  ['who owed tells the cutoff of a tenant that stands', history([endTenant(100, NaN, UNAVAILABLE), endTenant(200, IAT, { run: REPLICA }), endTenant(300, IAT + 1, { run: REPLICA })], {
    tellings: [tenantTold(REPLICA, 305, IAT + 1), tenantTold(STRICT, 1200, IAT + 1)]
  })],
  ['the cutoff of a subject is told in the place of the tenant\'s', history([endTenant(100, IAT)], { tellings: [cutoffTold(STRICT, 105)] }), NOT_TOLD, UNASKED],

  ['signed elsewhere, it is none of the others', history([others(6000), use(STRICT, 6100, late)], { tokens: foreign })],
  ['signed elsewhere, it ends with the others', history([others(6000), use(STRICT, 6100, { ...late, ...REFUSED })], { tokens: foreign }), NEVER],
  ['signed elsewhere, and ahead of the cutoff', history([cutOff(6000, IAT), use(STRICT, 6100, late)], { tokens: foreign })],
  ['signed elsewhere, ahead of the cutoff, and refused', history([cutOff(6000, IAT), use(STRICT, 6100, { ...late, ...REFUSED })], { tokens: foreign }), NEVER],
  ['signed elsewhere, and ahead of the cutoff that it asks for', history([cutOff(6000, IAT, late), use(STRICT, 6100, late)], { tokens: foreign }), ACCEPTED],

  ['too late', history([use(STRICT, 100, { to: 1000 })]), 'too late'],
  ['in time for a revocation', history([revoke(100, { to: 1000 })])],
  ['a log-in that waits for its second', history([cutOff(100, IAT), logIn(REPLICA, 300, {}, { to: 5500 })])],
  ['a log-in that waits for too long', history([cutOff(100, IAT), logIn(REPLICA, 300, {}, { to: 6900 })]), 'too late'],
  ['a log-in that waits for no cutoff', history([logIn(REPLICA, 300, {}, { to: 2500 })]), 'too late'],
  ['a log-in that waits for the cutoff of another', history([endTenant(100, IAT), logIn(REPLICA, 300, { tenant: 'u' }, { to: 2500 })]), 'too late'],
  ['late because the process was paused', history([use(STRICT, 100, { to: 2500 })], { faults: [fault('process paused', 'strict', 500, 2400)] })],
  ['late because its event loop stood still', history([use(STRICT, 100, { to: 2500 })], { runs: { [STRICT]: { stalls: [{ from: 0, to: 1000 }, { from: 500, to: 2000 }] } } })],
  ['late because of another one', history([use(STRICT, 100, { to: 2500 })], { faults: [fault('process paused', 'replica', 500, 2400)] }), 'too late'],
  ['died', history([], { runs: { [STRICT]: { to: 10_000, died: 'code 1' } } }), 'died'],
  ['printed', history([], { runs: { [STRICT]: { stderr: 'unhandled' } } }), 'printed'],
  ['killed, and nobody there', history([use(OTHER_REPLICA, 100, UNREACHABLE)], { runs: { [OTHER_REPLICA]: { to: 105 } } })],
  ['nobody there', history([use(STRICT, 100, UNREACHABLE)]), 'unexpected answer'],
  ['a server error', history([use(STRICT, 100, { status: 500 })]), 'unexpected answer'],
  ['no Retry-After', history([use(STRICT, 100, { ...UNAVAILABLE, retryAfter: '' })]), 'unexpected answer'],
  ['forbidden without reason', history([revoke(100, FORBIDDEN)]), 'unexpected answer'],
  ['forbidden because the record is lost', history([revoke(100, FORBIDDEN)], { faults: [flushed(50)] })],
  ['not back in the end', history([use(STRICT, 20_000, { ...UNAVAILABLE, settled: true })]), 'not back']
]

for (const [what, history, ...violations] of HISTORIES) {
  t.test(`${violations.length === 0 ? 'good' : 'bad'}: ${what}`, async (t) => {
    t.strictSame(check(history).violations.map(({ kind }) => kind).sort(), violations.sort())
  })
}

const INVALID = { status: 401, code: 'FST_JWT_REFRESH_INVALID' }
const END = 160
const gave = (refreshToken: string, sid = 'x', end = END) => ({ gave: { refreshToken, sid, end } })
/** `next`: the refresh token that it gives, or the answer without one. */
const refresh = (from: number, presented: string, next: string | Answer, run = STRICT) =>
  request(run, from, { refresh: presented, ...(typeof next === 'string' ? gave(next) : next) })
const revokeFirst = (from: number, answer: Answer = {}) => revoke(from, { jti: 'a', ...answer })
const useOf = (jti: string, from: number, run = STRICT) => use(run, from, { jti })

/**
 * The session x, that gave token `a` with the refresh token r1, and `t2` and so on with those that followed, and
 * another one, y, that gave `b`.
 */
function refreshing (requests: Request[], { tokens, ...more }: More = {}): History {
  const past = history(requests, more)
  const ofSession = { sub: 's', isRefreshable: true, id: 'x', lifetime: 30 }
  const [login, other] = past.requests as [Request, Request]
  Object.assign(login, gave('r1'))
  Object.assign(other, { from: 20, to: 30, ...gave('o1', 'y') })
  past.tokens = past.requests.flatMap(({ gave, from }, issue) => {
    if (gave === undefined) return []
    const jti = issue === 0 ? 'a' : issue === 1 ? 'b' : `t${issue}`
    const iat = IAT + Math.floor(from / 1000)
    return [{ jti, sid: gave.sid, ...ofSession, iat, exp: iat + 30, issue, ...tokens?.[jti] }]
  })
  return past
}

const ENDED = 'refreshed after its end'
const LATE_AGAIN = 'refreshed after the grace'
const FORK = 'another successor'
const NOT_REFRESHED = 'not refreshed'
const reuseTold = [endTold(STRICT, 3005)]
const doorTold = [told(STRICT, 105), endTold(STRICT, 105)]

const REFRESHED: Array<[what: string, history: History, ...violations: string[]]> = [
  ['refreshed', refreshing([refresh(100, 'r1', 'r2'), refresh(200, 'r2', 'r3', REPLICA), useOf('t2', 300), useOf('t3', 300)])],
  ['unavailable', refreshing([refresh(100, 'r1', UNAVAILABLE), refresh(200, 'r1', 'r2')])],
  ['the same successor again', refreshing([refresh(100, 'r1', 'r2'), refresh(2000, 'r1', 'r2', REPLICA)])],
  ['another successor', refreshing([refresh(100, 'r1', 'r2'), refresh(2000, 'r1', 'r3', REPLICA)]), FORK],
  ['another successor, and Redis had lost the first', refreshing([refresh(100, 'r1', 'r2'), refresh(2000, 'r1', 'r3')], { faults: [restored(1000, 50)] })],
  ['another successor, and Redis had it still', refreshing([refresh(100, 'r1', 'r2'), refresh(2000, 'r1', 'r3')], { faults: [restored(1000, 500)] }), FORK],
  ['the same successor three times', refreshing([100, 110, 120].map((from) => refresh(from, 'r1', 'r2')))],
  ['the same successor four times', refreshing([100, 110, 120, 130].map((from) => refresh(from, 'r1', 'r2'))), 'refreshed too often'],
  ['refused the fourth time', refreshing([...[100, 110, 120].map((from) => refresh(from, 'r1', 'r2')), refresh(130, 'r1', INVALID), refresh(140, 'r2', 'r3')])],
  ['refused the third time', refreshing([...[100, 110].map((from) => refresh(from, 'r1', 'r2')), refresh(130, 'r1', INVALID)]), NOT_REFRESHED],
  ['refused the second time, after one that Redis may have got twice', refreshing([refresh(100, 'r1', UNAVAILABLE), refresh(200, 'r1', INVALID)], { faults: [fault('link cut', 'strict', 100, 100)] })],
  ['used again after the grace', refreshing([refresh(100, 'r1', 'r2'), refresh(2200, 'r1', 'r2')]), LATE_AGAIN],
  ['used again after the grace, and Redis had lost the use', refreshing([refresh(100, 'r1', 'r2'), refresh(2200, 'r1', 'r2')], { faults: [restored(1000, 50)] })],
  ['used again when the grace may have passed', refreshing([refresh(100, 'r1', 'r2'), refresh(2100, 'r1', INVALID)])],
  ['refused without a reason', refreshing([refresh(100, 'r1', INVALID)]), NOT_REFRESHED],
  ['refused because it is lost', refreshing([refresh(100, 'r1', INVALID)], { faults: [flushed(50)] })],
  ['refused because it is over', refreshing([refresh(60_000, 'r1', INVALID)])],
  ['refused too early', refreshing([refresh(59_000, 'r1', INVALID)]), NOT_REFRESHED],
  ['refreshed when it is over', refreshing([refresh(60_100, 'r1', 'r2')]), ENDED],
  ['prolonged', refreshing([refresh(100, 'r1', gave('r2', 'x', END + 1))]), 'session prolonged'],
  ['refreshed to another session', refreshing([refresh(100, 'r1', gave('r2', 'y'))]), 'another session'],
  ['refused in words of a token', refreshing([refresh(100, 'r1', REFUSED)]), ODD],

  ['its session ends', refreshing([endSession(100), refresh(200, 'r1', INVALID)])],
  ['its session ends, and goes on', refreshing([endSession(100), refresh(111, 'r1', 'r2')]), ENDED],
  ['its session ends, and goes on by a replica', refreshing([endSession(100), refresh(111, 'r1', 'r2', REPLICA)]), ENDED],
  ['its session ends meanwhile', refreshing([endSession(100), refresh(109, 'r1', 'r2'), refresh(200, 'r2', INVALID), use(STRICT, 200, { jti: 't3', ...REFUSED })])],
  ['its session ends meanwhile, and the successor lives', refreshing([endSession(100), refresh(109, 'r1', 'r2'), refresh(200, 'r2', 'r3')]), ENDED],
  ['its session ends meanwhile, and the next token lives', refreshing([endSession(100), refresh(109, 'r1', 'r2'), useOf('t3', 200)]), ACCEPTED],
  ['its session may have ended', refreshing([endSession(100, UNAVAILABLE), refresh(200, 'r1', 'r2'), refresh(300, 'r2', INVALID)])],
  ['its session ends, and Redis loses that', refreshing([endSession(100), refresh(known + 50, 'r1', 'r2')], { faults: [restored(known, 50)] })],
  ['its session ends, Redis loses that, and it is put back', refreshing([endSession(100), refresh(back, 'r1', 'r2')], { faults: [restored(known, 50)] }), ENDED],
  ['its subject is cut off', refreshing([cutOff(100, IAT), refresh(200, 'r1', INVALID)])],
  ['its subject is cut off, and it goes on', refreshing([cutOff(100, IAT), refresh(200, 'r1', 'r2')]), ENDED],
  ['from after the cutoff of its subject', refreshing([refresh(1000, 'r1', 'r2'), cutOff(1100, IAT), refresh(1200, 'r2', INVALID)], {
    tellings: [cutoffTold(STRICT, 1105), endTold(STRICT, 1105)]
  })],
  ['from after the cutoff of its subject, which ends what is recorded', refreshing([refresh(1000, 'r1', 'r2'), cutOff(1100, IAT), refresh(1200, 'r2', 'r3')], {
    tellings: [cutoffTold(STRICT, 1105), endTold(STRICT, 1105)]
  }), ENDED],
  ['from beyond the cutoff of its subject, for all that is known', refreshing([
    { ...refresh(50, 'r1', UNAVAILABLE), run: REPLICA }, refresh(60, 'r1', 'r2'), cutOff(1100, IAT + 1), refresh(1200, 'r2', 'r3')
  ], { runs: { [REPLICA]: { ahead: ahead(20) } } })],
  ['its token is revoked', refreshing([revokeFirst(100), refresh(200, 'r1', INVALID), use(STRICT, 200, REFUSED)], { tellings: doorTold })],
  ['its token is revoked, and it goes on', refreshing([revokeFirst(100), refresh(200, 'r1', 'r2')], { tellings: doorTold }), ENDED],
  ['its token is revoked, and a later one lives', refreshing([refresh(50, 'r1', 'r2'), revokeFirst(100), useOf('t2', 200)], { tellings: doorTold }), ACCEPTED],
  ['its token is revoked, and nobody tells of the session', refreshing([revokeFirst(100)], { tellings: [told(STRICT, 105)] }), NOT_TOLD],
  ['its token is revoked, of which the record is lost', refreshing([revokeFirst(100), refresh(200, 'r1', 'r2')], { tellings: [told(STRICT, 105)], faults: [restored(50, 5)] })],
  ['the other session ends', refreshing([revoke(100, { jti: 'a' }, { kind: 'others', sub: 's' }), refresh(200, 'o1', INVALID), refresh(200, 'r1', 'r2')], { tellings: [endTold(STRICT, 105, 'y')] })],
  ['the other session ends, and goes on', refreshing([revoke(100, { jti: 'a' }, { kind: 'others', sub: 's' }), refresh(200, 'o1', gave('o2', 'y'))], { tellings: [endTold(STRICT, 105, 'y')] }), ENDED],
  ['the session of who asks ends with the others', refreshing([revoke(100, { jti: 'a' }, { kind: 'others', sub: 's' }), refresh(200, 'r1', INVALID)], { tellings: [endTold(STRICT, 105, 'y')] }), NOT_REFRESHED],

  ['used again, which ends the session', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', INVALID), refresh(3100, 'r2', INVALID), use(STRICT, 3100, { jti: 't2', ...REFUSED })], { tellings: reuseTold })],
  ['used again, and the session goes on', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', INVALID), refresh(3100, 'r2', 'r3')], { tellings: reuseTold }), ENDED],
  ['used again, and its token lives', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', INVALID), useOf('t2', 3100)], { tellings: reuseTold }), ACCEPTED],
  ['used again, and its token lives for a while with a replica', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', INVALID), useOf('t2', 3100, REPLICA)], { tellings: reuseTold })],
  ['used again, and nobody tells', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', INVALID)], { tellings: [] }), NOT_TOLD],
  ['used again, and nobody knows', refreshing([refresh(100, 'r1', 'r2'), refresh(3000, 'r1', UNAVAILABLE), refresh(3100, 'r2', 'r3'), refresh(3200, 'r3', INVALID)], { tellings: [] })]
]

for (const [what, history, ...violations] of REFRESHED) {
  t.test(`${violations.length === 0 ? 'good' : 'bad'} with refresh tokens: ${what}`, async (t) => {
    t.strictSame(check(history).violations.map(({ kind }) => kind).sort(), violations.sort())
  })
}

t.test('what two processes may both tell is counted', async (t) => {
  const both = [told(REPLICA, 205), told(STRICT, 1200)]
  const owed = history([revoke(100, UNAVAILABLE), revoke(200, { run: REPLICA })], { tellings: both })
  t.match(check(owed), { violations: [], knownTwice: 1 })
  t.match(check(history([revoke(100)])), { violations: [], knownTwice: 0 })
  const lost = history([revoke(100, UNAVAILABLE), revoke(200, { run: REPLICA })], { tellings: both, faults: [flushed(800)] })
  t.match(check(lost), { violations: [], knownTwice: 0 }, 'what was lost is told anew')
})

const faultOf = (kind: FaultKind): PlannedFault => ({ kind, on: 'a', at: 0, lasts: 5000, strength: 0.5 })

t.test('a plan is the seed\'s, and holds every fault before long', async (t) => {
  const planned = (seed: number) => plan(new Random(seed), ['a', 'b'], 600_000, 5000)
  t.strictSame(planned(1), planned(1))
  t.notSame(planned(1), planned(2))
  t.strictSame(new Set(planned(1).map(({ kind }) => kind)), new Set(FAULTS))
  t.notOk(LINK_FAULTS.some((kind) => thingOf(faultOf(kind)) === thingOf(faultOf('process killed'))), 'a link is no process')
  t.strictSame(new Set(PROCESS_FAULTS.map((kind) => thingOf(faultOf(kind)))).size, 1, 'a process has one fault at a time')
  const clocks = planned(1).filter(({ kind }) => kind === 'clock ahead')
  t.strictSame(clocks.map(clockOf), planned(1).filter(({ kind }) => kind === 'clock ahead').map(clockOf))
  t.strictSame(new Set(clocks.map((fault) => clockOf(fault).rightAfter === undefined)), new Set([true, false]), 'some are set right')
})

t.test('the strength of a fault says which command is forbidden, and what a clock shows', async (t) => {
  const strengths = Array.from({ length: 1000 }, (_, i) => i / 1000)
  t.strictSame(strengths.map(commandOf).filter((command, i, all) => command !== all[i - 1]), COMMANDS)
  for (const strength of strengths) {
    const { by, rightAfter } = clockOf({ ...faultOf('clock ahead'), strength })
    if (rightAfter === undefined) t.ok(by >= 1000 && by <= MAX_SIGNING_AHEAD, `tokens of a clock ${by} ms ahead are good elsewhere`)
    else t.ok(by > 65_000 && by <= 3_600_000 && rightAfter === 1500, `to a clock ${by} ms ahead every token has expired`)
  }
})

t.test('no process ends an idle connection, because a client may take it up in that moment', async (t) => {
  const runs: Run[] = []
  const member = new Member(t, 'a', 'strict', { redis: 'memory' }, runs)
  await member.start()
  const { headers } = await fetch(`http://127.0.0.1:${member.address!.port}/does-not-verify`)
  t.match(headers.get('connection'), 'keep-alive')
  t.equal(headers.get('keep-alive'), null, 'it names no time after which it would')
})
