import { setTimeout as sleep } from 'node:timers/promises'
import { now, outcomeOf, type Target } from './history.ts'
import type { Member } from './member.ts'
import type { Random } from './random.ts'
import { type Held, isAlive, ROUTES, send, type World } from './world.ts'
import type { Milliseconds } from '../../lib/time.ts'

const HISTORY = '/v1/jwt/history'
/** Look, spend and save share one storeTimeout; the last look at the cutoffs, and the end of a session, have their own. */
const REFRESH_TURNS = 3
const REVOCATION_TURNS = 2
const MAX_SESSIONS = 3
const MAX_TRIES = 4

const DEEDS = { login: 5, refresh: 24, tabs: 6, storm: 1, use: 16, steal: 3, probe: 8, logout: 6, race: 3 }
const DOORS = { token: 3, id: 2, session: 2, application: 1, provider: 2, others: 2, subject: 1, tenant: 1 }

/** A session as one device has it. */
interface Session {
  sid: string
  id: string
  /** The oldest first: the last one is to be used. */
  refreshTokens: string[]
  /** When each of them was given back for the next. */
  spent: Map<string, Milliseconds>
  held: Held[]
}

/** A user with some devices: each logs in for long, refreshes its tokens, and logs out by one door or another. */
export class RefreshingClient {
  readonly #world: World
  readonly #random: Random
  readonly #name: string
  #named = 0
  #sub = ''
  #tenant = ''
  #sessions: Session[] = []
  /** What ended, or was given up. */
  readonly #gone: Session[] = []

  constructor (world: World, random: Random, name: string) {
    this.#world = world
    this.#random = random
    this.#name = name
    this.#change()
  }

  /** Until `end`, which may be put off. */
  async run (end: { at: Milliseconds }) {
    while (now() < end.at) {
      await this.#act()
      await sleep(this.#random.between(10, 80))
    }
  }

  /** In the end each session that lives goes on, and none that has ended does. */
  async settle () {
    for (const session of this.#sessions) await this.#refresh(session)
    for (const session of this.#gone.slice(-30)) {
      for (const refreshToken of session.refreshTokens.slice(-2).reverse()) await this.#present(session, refreshToken)
    }
  }

  async #act () {
    const random = this.#random
    if (this.#sessions.length === 0) return this.#logIn()
    const session = random.pick(this.#sessions)
    switch (random.weighted(DEEDS)) {
      case 'login': return this.#sessions.length < MAX_SESSIONS ? this.#logIn() : undefined
      case 'refresh': return this.#refresh(session)
      case 'tabs': return this.#tabs(session, 2)
      case 'storm': return this.#tabs(session, 8)
      case 'use': return this.#use(random.pick(session.held))
      case 'steal': return this.#steal(session)
      case 'probe': return this.#probe(this.#gone.at(-Math.ceil(random.between(0, 10))))
      case 'logout': return this.#logOut(session)
      case 'race': return this.#race(session)
    }
  }

  async #logIn () {
    const signers = this.#world.members.filter(({ signs }) => signs)
    if (signers.length === 0) return
    const names = { sub: this.#sub, ...(this.#random.chance(0.5) && { tenant: this.#tenant }) }
    const lifetime = this.#lifetime()
    const query = new URLSearchParams({ ...names, seconds: String(lifetime), refresh: '1' })
    const answer = await send(this.#world, {
      member: this.#random.pick(signers), turns: 2, method: 'POST', path: `/login?${query}`, what: '/login', names
    })
    if (answer === undefined) return
    const { request: { gave }, body, index } = answer
    if (gave === undefined) {
      // It may be cut off for as long as some clock is ahead.
      if (outcomeOf(answer.request) === 'refused') this.#change()
      return
    }
    const { refreshToken, sid } = gave
    const session: Session = { sid, id: String(body.id), refreshTokens: [refreshToken], spent: new Map(), held: [] }
    this.#sessions.push(session)
    this.#hold(session, body, index, lifetime)
  }

  /** As a client does: with the same token until an answer comes; some answers are lost on their way. */
  async #refresh (session: Session) {
    const refreshToken = session.refreshTokens.at(-1)!
    const loses = this.#random.chance(0.15)
    const first = now()
    let member: Member | undefined
    for (let i = 0; i < MAX_TRIES; i++) {
      if (member === undefined || this.#random.chance(0.6)) member = this.#random.pick(this.#world.members)
      const outcome = await this.#present(session, refreshToken, member)
      if (outcome === 'accepted' && !(loses && i === 0)) return
      if (outcome === 'invalid') return
      // Mostly within the grace, as whoever asks again at once does.
      const isLate = now() - first > this.#world.grace * 0.7
      if (isLate && this.#random.chance(0.7)) return this.#giveUp(session)
      await sleep(this.#random.between(0, isLate ? this.#world.grace : this.#world.grace * 0.3))
    }
  }

  /** Several that share one refresh token, as tabs do. */
  async #tabs (session: Session, count: number) {
    const refreshToken = session.refreshTokens.at(-1)!
    await Promise.all(Array.from({ length: count }, async () => {
      await sleep(this.#random.between(0, 30))
      await this.#present(session, refreshToken)
    }))
  }

  /** Somebody else uses a refresh token that was spent: mostly after its grace. */
  async #steal (session: Session) {
    const isFound = this.#random.chance(0.8)
    const old = [...session.spent].filter(([, at]) => !isFound || now() - at > this.#world.grace + 200)
    if (old.length === 0) return
    const outcome = await this.#present(session, this.#random.pick(old)[0])
    if (isFound && outcome === 'invalid') await this.#ended([session])
  }

  /** With nothing known of what comes back: any process, any of its tokens. */
  async #probe (session: Session | undefined) {
    if (session === undefined) return
    const random = this.#random
    await this.#present(session, random.chance(0.7) ? session.refreshTokens.at(-1)! : random.pick(session.refreshTokens))
    const alive = session.held.filter((held) => isAlive(held))
    if (alive.length > 0) await this.#use(random.pick(alive))
  }

  /** A refresh is on its way while the session ends. */
  async #race (session: Session) {
    await Promise.all([this.#tabs(session, this.#random.chance(0.5) ? 1 : 2), this.#logOut(session)])
    await this.#probe(session)
  }

  async #logOut (session: Session) {
    const speaker = session.held.findLast((held) => isAlive(held))
    if (speaker === undefined) return
    const { sid, id } = session
    const { jti } = speaker
    const sub = this.#sub
    const door = this.#random.weighted(DOORS)
    const others = this.#sessions.filter((one) => one !== session)
    switch (door) {
      case 'token': return this.#end([session], { kind: 'token', jti }, `/${jti}`, '/:jti', speaker)
      case 'id': return this.#end([session], { kind: 'session', sid }, `/id/${id}`, '/id/:id', speaker)
      case 'session': return this.#end([session], { kind: 'session', sid }, `/sid/${sid}`, '/sid/:sid', speaker)
      case 'application': return this.#end([session], { kind: 'session', sid }, '', '/logout', speaker)
      case 'provider': return this.#end([session], { kind: 'session', sid }, `?sid=${sid}`, '/provider/logout')
      case 'others': return this.#end(others, { kind: 'others', sub }, `/sub/${sub}?except=current`, '/sub/:sub?except=current', speaker)
      case 'subject': {
        await this.#end([session, ...others], { kind: 'subject', sub }, `/sub/${sub}`, '/sub/:sub', speaker)
        return this.#random.chance(0.5) ? this.#change() : undefined
      }
      case 'tenant': {
        const tenant = this.#tenant
        const own = this.#sessions.filter(({ held }) => held[0]!.tenant === tenant)
        await this.#end(own, { kind: 'claim', tenant }, `/by/tenant/${tenant}`, '/by/:claim/:value', speaker)
        return this.#random.chance(0.5) ? this.#change() : undefined
      }
    }
  }

  async #end (sessions: Session[], target: Target, path: string, what: string, held?: Held) {
    const isRoute = !what.endsWith('/logout')
    const tries = this.#random.chance(0.6) ? MAX_TRIES : 1
    for (let i = 0; i < tries; i++) {
      const answer = await send(this.#world, {
        member: this.#random.pick(this.#world.members),
        turns: REVOCATION_TURNS,
        method: isRoute ? 'DELETE' : 'POST',
        path: isRoute ? HISTORY + path : what + path,
        what: isRoute ? HISTORY + what : what,
        target,
        ...(held && { held })
      })
      if (answer === undefined) continue
      const outcome = outcomeOf(answer.request)
      if (outcome === 'accepted') return this.#ended(sessions)
      if (outcome !== 'unavailable' && outcome !== 'unreachable') return this.#giveUp(...sessions)
      await sleep(this.#random.between(0, 300))
    }
    // Nobody knows; whoever goes on with it finds out.
    if (this.#random.chance(0.5)) this.#giveUp(...sessions)
  }

  /** At once its tokens are tried, and now and then later. */
  async #ended (sessions: Session[]) {
    this.#giveUp(...sessions)
    for (const { held } of sessions) {
      for (const one of held) if (isAlive(one)) this.#world.revoked.push({ held: one, at: now() })
    }
    for (const session of sessions) await this.#probe(session)
  }

  async #use (held: Held) {
    await send(this.#world, { member: this.#random.pick(this.#world.members), turns: 1, method: 'GET', path: this.#random.pick(ROUTES), held })
  }

  async #present (session: Session, refreshToken: string, member = this.#random.pick(this.#world.members)) {
    const lifetime = this.#lifetime()
    const query = new URLSearchParams({ token: refreshToken, seconds: String(lifetime) })
    const answer = await send(this.#world, {
      member, turns: REFRESH_TURNS, method: 'POST', path: `/refresh?${query}`, what: '/refresh', refresh: refreshToken
    })
    if (answer === undefined) return 'nobody'
    const { request, body, index } = answer
    const outcome = outcomeOf(request)
    if (request.gave !== undefined) {
      this.#hold(session, body, index, lifetime)
      session.spent.set(refreshToken, Math.max(session.spent.get(refreshToken) ?? 0, request.to))
      if (!session.refreshTokens.includes(request.gave.refreshToken)) session.refreshTokens.push(request.gave.refreshToken)
    } else if (outcome === 'invalid' && refreshToken === session.refreshTokens.at(-1)) this.#giveUp(session)
    return outcome
  }

  #hold (session: Session, body: Record<string, unknown>, index: number, lifetime: number) {
    const { token, jti, id } = body as { token: string, jti: string, id: string }
    const { sub, sid, tenant, iat, exp } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
    const held: Held = { token, jti, id, sub, sid, ...(tenant && { tenant }), iat, exp, lifetime, issue: index, isRefreshable: true }
    session.held.push(held)
    this.#world.tokens.push(held)
  }

  #giveUp (...sessions: Session[]) {
    this.#sessions = this.#sessions.filter((session) => !sessions.includes(session))
    for (const session of sessions) if (!this.#gone.includes(session)) this.#gone.push(session)
  }

  #change () {
    this.#giveUp(...this.#sessions)
    this.#sub = `${this.#name}-${this.#named++}`
    this.#tenant = `${this.#name}-${this.#named++}`
  }

  #lifetime (): number {
    return Math.round(this.#random.between(4, 30))
  }
}
