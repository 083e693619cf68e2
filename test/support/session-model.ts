import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { Decorator } from '../../lib/domain/decorator.ts'
import { Logouts } from '../../lib/domain/logouts.ts'
import type { Clock as InjectedClock } from '../../lib/time.ts'
import type { TokenPair } from '../../lib/types.ts'
import { claimsOf, presented } from './domain.ts'

/*
 * Sessions as the contract has them, written from its text: when a refresh token gives its successor, when it is refused,
 * what ends a session. What happens at once has no order here: the model says only what must hold in every order.
 */

export const DOORS = ['jti', 'old jti', 'id', 'sid', 'subject', 'except', 'claim', 'provider'] as const
export type Door = (typeof DOORS)[number]

/** `session`: which of those there are, the latest first. `back`: how many tokens before the latest one. */
export type Deed =
  { do: 'log in', sub: number, tenant: number } |
  { do: 'refresh', session: number, back: number, times: number, slowly: boolean } |
  { do: 'log out', door: Door, session: number, other: number }

/** What happens at once, and the time that passes afterwards. */
export interface Round { deeds: Deed[], time: number }

const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('log in' as const), sub: fc.nat(1), tenant: fc.nat(2) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('refresh' as const),
      session: fc.nat(3),
      back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(3)),
      times: fc.integer({ min: 1, max: 4 }),
      slowly: fc.boolean()
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('log out' as const), door: fc.constantFrom(...DOORS), session: fc.nat(3), other: fc.nat(3)
    })
  }
)

/** Few of a history's moments have a log-out, so that sessions get old. */
export const rounds = (times: number[], maxLength: number): fc.Arbitrary<Round[]> => fc.array(fc.record({
  deeds: fc.array(deed, { minLength: 1, maxLength: 4 }), time: fc.constantFrom(...times)
}), { minLength: 2, maxLength })

interface Token {
  value: string
  /** When it was used first: not before the one, and not after the other. */
  spent?: [from: number, to: number]
  uses: number
  successor?: string
}

interface Session {
  sub: string | number
  tenant: string | undefined
  sid: string
  id: string
  /** In seconds since the epoch. */
  end: number
  refreshExpiresAt: string
  tokens: Token[]
  access: Array<{ jti: string, exp: number }>
  /** undefined: nobody can know. */
  lives: boolean | undefined
}

type Answer = { pair: TokenPair } | { error: { code?: string } }
type Refreshed = { session: Session, token: Token, answers: Answer[] }

export interface World {
  /** Processes on one store. */
  domains: Decorator[]
  clock: InjectedClock
  /** Whether the clocks of the processes differ. A listed claim's cutoff reaches no token that is signed ahead of it. */
  isSkewed: boolean
  /** Milliseconds. */
  grace: number
  /** The clock of the store, in milliseconds. */
  now: () => Promise<number>
  pass: (milliseconds: number) => Promise<void>
  /** Runs what happens at once, in some order of its steps. */
  interleave: (act: () => Promise<unknown>) => Promise<unknown>
  /** A step that others may come before. */
  step: () => Promise<void>
  /** How many refresh tokens the store holds that were not used, by session. */
  unused: () => Promise<Map<string, number>>
}

const MAX_USES = 3
/** Rounding, in milliseconds. */
const NEAR = 1.5
/** The end of a session, in seconds, about which nothing is said here. */
const ABOUT_END = 10
/** How long a cutoff that was asked for often is ahead, in milliseconds, and how often. */
const LEAD = { span: 7000, cutoffs: 4 }
const SUBJECTS = ['alice', 7]
/** One of them is none: a session need not have a listed claim. */
const TENANTS = ['t0', 't1', undefined]

export class SessionModel {
  readonly #world: World
  readonly #sessions: Session[] = []
  readonly #provider: Logouts
  /** When subjects and claims were cut off. */
  readonly #cutoffs: number[] = []
  /** What happened, for the reader of a test that failed. */
  readonly counts = { rounds: 0, refreshed: 0, refused: 0, reused: 0, ended: 0 }

  constructor (world: World) {
    this.#world = world
    const { cutoffs } = world.domains.at(-1)!.revoker
    const provider = { issuer: 'https://idp.example', audiences: ['app'], path: '/', namespace: undefined, tokenIssuer: '' }
    this.#provider = new Logouts(provider, { cutoffs, log: { warn () {} }, clock: world.clock })
  }

  async round ({ deeds, time }: Round) {
    this.counts.rounds++
    const from = await this.#world.now()
    const before = [...this.#sessions]
    const wereDead = new Set(before.filter(({ lives }) => lives === false))
    const ended = new Set<Session>()
    const refreshed: Refreshed[] = []
    const began: Session[] = []
    let isCut = false
    const act = async (deed: Deed, i: number): Promise<void> => {
      const domain = this.#world.domains[i % this.#world.domains.length]!
      const at = (n: number) => before.at(-1 - n % before.length)!
      if (deed.do === 'log in') {
        const session = await this.#logIn(domain, deed, from)
        if (session !== undefined) began.push(session)
      } else if (before.length === 0) {
        // There is nothing yet.
      } else if (deed.do === 'refresh') {
        const session = at(deed.session)
        const token = session.tokens.at(-1 - deed.back % session.tokens.length)!
        const answers = await Promise.all(Array.from({ length: deed.times }, (_, j) => {
          return this.#refresh(this.#world.domains[(i + j) % this.#world.domains.length]!, token.value, deed.slowly)
        }))
        refreshed.push({ session, token, answers })
      } else {
        if (deed.door === 'subject' || deed.door === 'claim') {
          isCut = true
          this.#cutoffs.push(from)
        }
        for (const session of await this.#logOut(domain, deed, at(deed.session), at(deed.other), before, from)) ended.add(session)
      }
    }
    await this.#world.interleave(() => Promise.all(deeds.map(act)))
    const to = await this.#world.now()

    this.#sessions.push(...began)
    // A log-out of the same moment may have come before or after the login.
    if (isCut) for (const session of began) session.lives = undefined
    for (const session of deeds.some((deed) => deed.do === 'log out' && deed.door === 'except') ? began : []) session.lives = undefined
    this.#judge(refreshed, ended, wereDead, from, to)
    for (const session of ended) {
      if (session.lives !== false) this.counts.ended++
      session.lives = false
    }
    await this.#observe(to)
    await this.#world.pass(time)
    await this.#observe(await this.#world.now())
  }

  async #logIn (domain: Decorator, { sub, tenant }: { sub: number, tenant: number }, from: number): Promise<Session | undefined> {
    const claims = { sub: SUBJECTS[sub]!, tenant: TENANTS[tenant] }
    try {
      const pair = await domain.issue(claims, { refresh: true })
      return {
        ...claims,
        sid: pair.sid,
        id: pair.id,
        end: Date.parse(pair.refreshExpiresAt) / 1000,
        refreshExpiresAt: pair.refreshExpiresAt,
        tokens: [{ value: pair.refreshToken, uses: 0 }],
        access: [this.#accessOf(pair)],
        lives: true
      }
    } catch (error) {
      const { code } = error as { code?: string }
      assert.ok(code === 'FST_JWT_REVOCATION_UNAVAILABLE' || code === 'FST_JWT_REVOKED', `a login: ${code} ${error}`)
      const recent = this.#cutoffs.filter((at) => at > from - LEAD.span)
      assert.ok(recent.length >= LEAD.cutoffs, 'a login is refused only after many log-outs in few seconds')
      return undefined
    }
  }

  async #refresh (domain: Decorator, token: string, slowly: boolean): Promise<Answer> {
    try {
      const claims = async (old: object) => {
        await this.#world.step()
        return old
      }
      return { pair: await domain.refresh(token, slowly ? { claims } : {}) }
    } catch (error) {
      return { error: error as { code?: string } }
    }
  }

  /** Gives the sessions that are at an end now. */
  async #logOut (
    domain: Decorator, { door }: { door: Door }, session: Session, other: Session, before: Session[], from: number
  ): Promise<Session[]> {
    const { sub, tenant, sid, id, access } = session
    const isOfSubject = (one: Session) => one.sub === sub
    // A jti leads to its session as long as its token lives.
    const lives = ({ exp }: { exp: number }) => exp > from / 1000 + 1
    const jti = door === 'old jti' ? access.find(lives)?.jti : access.findLast(lives)?.jti
    switch (door) {
      case 'id':
        await domain.revokeById(id).catch((error) => assert.ok(this.#isOver(session, from), String(error)))
        return [session]
      case 'sid':
        await domain.revokeSession(sid)
        return [session]
      case 'provider':
        await this.#provider.end({ jti: randomUUID(), sid, sub: undefined, iat: Math.floor(from / 1000) })
        return [session]
      case 'subject':
        await domain.revokeSubject(sub)
        return before.filter(isOfSubject)
      case 'claim':
        if (this.#world.isSkewed || tenant === undefined) return []
        await domain.revokeBy('tenant', tenant)
        return before.filter((one) => one.tenant === tenant)
      case 'except': {
        const spared = other.sub === sub ? other : session
        const except = spared.access.findLast(lives)?.jti
        if (except === undefined) return []
        const isDone = await domain.revokeSubject(sub, { except }).then(() => true, (error) => {
          assert.equal(error.code, 'FST_JWT_REVOKED')
          return false
        })
        return isDone ? before.filter((one) => isOfSubject(one) && one !== spared) : []
      }
      default:
        if (jti === undefined) return []
        await domain.revoke({ jti })
        return [session]
    }
  }

  /** What the rules say of the refreshes of one moment. */
  #judge (refreshed: Refreshed[], ended: Set<Session>, wereDead: Set<Session>, from: number, to: number) {
    const byToken = new Map<Token, Refreshed>()
    for (const one of refreshed) {
      const standing = byToken.get(one.token)
      if (standing === undefined) byToken.set(one.token, { ...one, answers: [...one.answers] })
      else standing.answers.push(...one.answers)
    }
    const states = new Map([...byToken.keys()].map((token) => [token, this.#stateOf(token, from, to)]))
    for (const { session, token } of byToken.values()) {
      if (states.get(token) !== 'reused' || wereDead.has(session) || this.#isOver(session, from)) continue
      this.counts.reused++
      ended.add(session)
    }
    // At the very end of a grace nobody can tell whether a use ends the session, and with it what else is under way.
    const doubtful = new Set([...byToken.values()]
      .filter(({ token, answers }) => states.get(token) === undefined && answers.some((answer) => 'error' in answer))
      .map(({ session }) => session))
    for (const { session, token, answers } of byToken.values()) {
      const pairs = answers.flatMap((answer) => 'pair' in answer ? [answer.pair] : [])
      for (const answer of answers) {
        if ('error' in answer) assert.equal(answer.error.code, 'FST_JWT_REFRESH_INVALID', String(answer.error))
      }
      this.counts.refreshed += pairs.length
      this.counts.refused += answers.length - pairs.length
      const state = states.get(token)!
      if (wereDead.has(session)) assert.equal(pairs.length, 0, 'a session that was ended is not refreshed')
      if (to / 1000 >= session.end + ABOUT_END) assert.equal(pairs.length, 0, 'a session is not refreshed beyond its end')
      if (state === 'reused') assert.equal(pairs.length, 0, 'a token that was used before its grace gives nothing')
      assert.ok(token.uses + pairs.length <= MAX_USES, 'at most three answers')
      const isCertain = session.lives === true && !ended.has(session) && !doubtful.has(session) && !this.#isOver(session, to) && state === 'usable'
      if (isCertain) {
        assert.equal(pairs.length, Math.min(answers.length, MAX_USES - token.uses), 'no refresh is refused that the rules allow')
      }
      if (state === undefined && pairs.length < answers.length) session.lives = undefined
      this.#take(session, token, pairs, from, to)
    }
  }

  #take (session: Session, token: Token, pairs: TokenPair[], from: number, to: number) {
    for (const pair of pairs) {
      token.successor ??= pair.refreshToken
      assert.equal(pair.refreshToken, token.successor, 'each answer has the same successor')
      const { sid, id, refreshExpiresAt } = pair
      assert.deepEqual({ sid, id, refreshExpiresAt }, {
        sid: session.sid, id: session.id, refreshExpiresAt: session.refreshExpiresAt
      }, 'it is the same session, with the same end')
      session.access.push(this.#accessOf(pair))
    }
    if (pairs.length === 0) return
    token.uses += pairs.length
    token.spent ??= [from, to]
    if (session.tokens.some(({ value }) => value === token.successor)) return
    assert.equal(session.tokens.at(-1), token, 'only the latest token has a new successor')
    session.tokens.push({ value: token.successor!, uses: 0 })
  }

  /** undefined: its grace ended meanwhile. */
  #stateOf ({ spent }: Token, from: number, to: number): 'usable' | 'reused' | undefined {
    const { grace } = this.#world
    if (spent === undefined || to - spent[0] < grace - NEAR) return 'usable'
    return from - spent[1] >= grace + NEAR ? 'reused' : undefined
  }

  #isOver ({ end }: Session, now: number) {
    return now / 1000 >= end - ABOUT_END
  }

  #accessOf ({ token }: TokenPair) {
    return claimsOf(token) as { jti: string, exp: number }
  }

  /** What must hold of all sessions, whatever happened. */
  async #observe (now: number) {
    const unused = await this.#world.unused()
    const domain = this.#world.domains[0]!
    for (const session of this.#sessions) {
      assert.ok((unused.get(session.sid) ?? 0) <= 1, 'a login has one family of tokens')
      const record = await domain.token(session.id)
      const status = record === null ? undefined : (await domain.history.withStatus(record)).status
      const isOver = this.#isOver(session, now)
      // Nobody could know: the list tells, and all else must say the same.
      if (!isOver && session.lives === undefined) session.lives = status === 'active'
      if (isOver) {
        if (now / 1000 >= session.end + ABOUT_END) await this.#isDead(session)
      } else if (session.lives) {
        assert.equal(status, 'active', 'the list shows that it lives')
        for (const claims of session.access) {
          if (claims.exp > now / 1000 + 5) assert.equal(await presented(domain, claims as never), 'accepted')
        }
      } else {
        assert.equal(status, 'revoked', 'the list shows that it ended')
        await this.#isDead(session)
      }
      for (const { exp } of session.access) assert.ok(exp <= session.end, 'no access token outlives its session')
    }
    for (const sub of new Set(this.#sessions.map(({ sub }) => sub))) {
      const { tokens } = await domain.tokens(sub)
      const ids = tokens.map(({ id }) => id)
      assert.equal(ids.length, new Set(ids).size, 'the list has each session once')
      for (const session of this.#sessions) {
        if (session.sub === sub && !this.#isOver(session, now)) assert.ok(ids.includes(session.id), 'the list has each session')
      }
    }
  }

  async #isDead ({ access, tokens }: Session) {
    const domain = this.#world.domains.at(-1)!
    for (const claims of access) assert.notEqual(await presented(domain, claims as never), 'accepted', 'no access token lives')
    // Those that were used are refused for that as well.
    for (const { value } of tokens.slice(-2)) {
      await assert.rejects(domain.refresh(value), { code: 'FST_JWT_REFRESH_INVALID' }, 'no refresh token lives')
    }
  }
}
