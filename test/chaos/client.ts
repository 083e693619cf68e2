import { setTimeout as sleep } from 'node:timers/promises'
import { now, outcomeOf, type Names, type Target } from './history.ts'
import type { Member } from './member.ts'
import type { Random } from './random.ts'
import { type Held, isAlive, ROUTES, send, type World } from './world.ts'
import type { Milliseconds } from '../../lib/time.ts'

const HISTORY = '/v1/jwt/history'
/** A check and a revocation. */
const REVOCATION_TURNS = 2
/** How long after its revocation a token is mostly used again. */
const RECENT: Milliseconds = 4000
const MAX_TRIES = 4

const DEEDS = {
  issue: 12, provider: 5, use: 25, reuse: 35, any: 8, token: 9, id: 7, others: 2, subject: 2, session: 3, claim: 2, hammer: 1
}

/** One of many who issue, use and revoke at once; most of the time tokens of a subject of its own. */
export class Client {
  readonly #world: World
  readonly #random: Random
  readonly #name: string
  /** How many names it has thought of. */
  #named = 0
  #sub = ''
  #sid = ''
  #tenant = ''
  #own: Held[] = []

  constructor (world: World, random: Random, name: string) {
    this.#world = world
    this.#random = random
    this.#name = name
    this.#changeSubject()
    this.#tenant = this.#newName()
  }

  /** Until `end`, which may be put off. */
  async run (end: { at: Milliseconds }) {
    while (now() < end.at) {
      await this.#act()
      await sleep(this.#random.between(5, 40))
    }
  }

  async #act () {
    const random = this.#random
    if (this.#own.length < 3) return this.#issue()
    switch (random.weighted(DEEDS)) {
      case 'issue': return this.#issue()
      case 'provider': return this.#issue(random.chance(0.3) ? this.#endedSession() : this.#names(), '/provider/login')
      case 'use': return this.#use(random.pick(this.#own))
      case 'reuse': return this.#useRevoked()
      case 'any': return this.#use(random.pick(this.#world.tokens))
      case 'token': return this.#revokeToken(({ jti }) => `/${jti}`, '/:jti')
      case 'id': return this.#revokeToken(({ id }) => `/id/${id}`, '/id/:id')
      case 'others': return this.#revokeSubject('others')
      case 'subject': return this.#revokeSubject('subject')
      case 'session': return this.#endSession()
      case 'claim': return this.#endTenant()
      case 'hammer': return random.chance(0.5) ? this.#hammerAtOnce() : this.#hammerInTurn()
    }
  }

  /** Some tokens are of a session, which several of them share, and some of a tenant, which several subjects share. */
  #names (): Names {
    const random = this.#random
    if (random.chance(0.2)) this.#sid = this.#newName()
    return { sub: this.#sub, ...(random.chance(0.7) && { sid: this.#sid }), ...(random.chance(0.6) && { tenant: this.#tenant }) }
  }

  /** Most of the time one that has ended lately. */
  #endedSession (): Names {
    const { ended } = this.#world
    if (ended.length === 0) return this.#names()
    return { sub: this.#sub, sid: this.#random.pick(this.#random.chance(0.7) ? ended.slice(-10) : ended) }
  }

  /** A provider hands out what is revoked already: to others that is no token of theirs. */
  async #issue (names = this.#names(), path = '/login') {
    const { sub, sid } = names as { sub: string, sid?: string }
    const lifetime = Math.round(this.#random.between(4, 45))
    const signers = this.#world.members.filter(({ signs }) => signs)
    if (signers.length === 0) return
    const query = new URLSearchParams({ ...names, seconds: String(lifetime) } as Record<string, string>)
    const isForeign = path !== '/login'
    const answer = await send(this.#world, {
      member: this.#random.pick(signers), turns: 2, method: 'POST', path: `${path}?${query}`, what: path, names
    })
    if (answer === undefined) return
    const hasEnded = sid !== undefined && this.#world.ended.includes(sid)
    if (answer.request.status !== 200) {
      // It may be cut off for as long as some clock is ahead.
      if ((outcomeOf(answer.request) === 'refused' && !hasEnded) || this.#random.chance(0.1)) this.#changeAll()
      return
    }
    const { token, jti, id = '' } = answer.body as { token: string, jti: string, id?: string }
    const { iat, exp } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
    const held: Held = { ...names, token, jti, id, sub, iat, exp, lifetime, issue: answer.index, ...(isForeign && { isForeign }) }
    this.#world.tokens.push(held)
    if (hasEnded) await this.#revoked([held])
    else if (sub === this.#sub) this.#own.push(held)
  }

  async #use (held: Held, member = this.#random.pick(this.#world.members)) {
    const answer = await send(this.#world, { member, turns: 1, method: 'GET', path: this.#random.pick(ROUTES), held })
    if (answer?.request.status === 401) this.#forget([held])
  }

  async #useRevoked () {
    const { revoked } = this.#world
    const recent = revoked.slice(-200).filter(({ at }) => now() - at < RECENT)
    const some = recent.length > 0 && this.#random.chance(0.6) ? recent : revoked
    if (some.length === 0) return
    const { held } = this.#random.pick(some)
    if (isAlive(held)) return this.#use(held)
    some.splice(some.findIndex((one) => one.held === held), 1)
  }

  async #revokeToken (path: (held: Held) => string, what: string) {
    const target = this.#random.pick(this.#own)
    // Nobody knows whose a token without a record is.
    if (target.isForeign && what !== '/:jti') return
    const speaker = target.isForeign || this.#random.chance(0.5) ? target : this.#random.pick(this.#own)
    const isDone = await this.#revoke({ kind: 'token', jti: target.jti }, HISTORY + path(target), HISTORY + what, speaker)
    if (isDone !== false) this.#forget([target])
    if (isDone) await this.#revoked([target])
    // What it was that failed is left to others to find as they do.
    else if (isDone === undefined && this.#random.chance(0.6)) await this.#revokeSubject('others')
  }

  async #revokeSubject (kind: 'subject' | 'others', isLast = this.#random.chance(0.3)) {
    const speaker = this.#own.at(-1)
    if (speaker === undefined) return
    const ended = this.#own.filter((held) => kind === 'subject' || (held !== speaker && !held.isForeign))
    await this.#ended(await this.#askFor(kind, speaker), ended, isLast)
  }

  /** Several calls with one token: the cutoff rises with each, or one is enough. */
  async #hammerAtOnce () {
    const speaker = this.#own.at(-1)!
    const ended = this.#own
    const calls = Array.from({ length: Math.round(this.#random.between(3, 8)) }, () => this.#askFor('subject', speaker))
    const done = await Promise.all(calls)
    await this.#ended(done.includes(true) || (done.includes(undefined) ? undefined : false), ended, this.#random.chance(0.3))
  }

  /** One log-in after another, each of them ended: the cutoff runs ahead of the clock. */
  async #hammerInTurn () {
    const sub = this.#sub
    for (let left = Math.round(this.#random.between(4, 12)); left > 0 && sub === this.#sub; left--) {
      await this.#issue()
      await this.#revokeSubject('subject', left === 1)
    }
  }

  #askFor (kind: 'subject' | 'others', speaker: Held) {
    const sub = this.#sub
    const path = `${HISTORY}/sub/${sub}${kind === 'others' ? '?except=current' : ''}`
    return this.#revoke({ kind, sub }, path, path.replace(sub, ':sub'), speaker)
  }

  async #ended (isDone: boolean | undefined, ended: Held[], isLast: boolean) {
    await this.#gone(isDone, ended)
    // A cutoff of which nobody knows whether and when it was made: it says nothing any more what becomes of the subject's tokens.
    if (isDone === undefined || isLast) this.#changeSubject()
  }

  async #gone (isDone: boolean | undefined, ended: Held[]) {
    if (isDone !== false) this.#forget(ended)
    if (isDone) await this.#revoked(ended)
  }

  /** By the route, or by a call of the application; then somebody logs in to what has ended, here or at the provider. */
  async #endSession () {
    const speaker = this.#own.findLast(({ sid }) => sid !== undefined)
    if (speaker?.sid === undefined) return
    const { sid, sub } = speaker
    const target: Target = { kind: 'session', sid }
    const isDone = this.#random.chance(0.7)
      ? await this.#revoke(target, `${HISTORY}/sid/${sid}`, `${HISTORY}/sid/:sid`, speaker)
      : await this.#revoke(target, '/logout', '/logout', speaker, 'POST')
    const ended = this.#own.filter((held) => held.sid === sid)
    this.#sid = this.#newName()
    if (isDone) this.#world.ended.push(sid)
    await this.#gone(isDone, ended)
    if (isDone && this.#random.chance(0.5)) await this.#issue({ sub, sid }, this.#random.chance(0.8) ? '/provider/login' : '/login')
  }

  /** By any token, because the application lets it, or by a call of the application: once, or until the clock is behind. */
  async #endTenant () {
    const tenant = this.#tenant
    const target: Target = { kind: 'claim', tenant }
    const times = this.#random.chance(0.1) ? Math.round(this.#random.between(4, 8)) : 1
    for (let left = times; left > 0 && tenant === this.#tenant; left--) {
      const speaker = this.#own.at(-1)
      const isDone = speaker === undefined || this.#random.chance(0.3)
        ? await this.#revoke(target, `/ends/${tenant}`, '/ends/:tenant', undefined, 'POST')
        : await this.#revoke(target, `${HISTORY}/by/tenant/${tenant}`, `${HISTORY}/by/:claim/:value`, speaker)
      await this.#gone(isDone, this.#own.filter((held) => held.tenant === tenant))
      if (isDone === undefined || this.#random.chance(0.3)) this.#tenant = this.#newName()
      else if (left > 1) await this.#issue({ sub: this.#sub, tenant })
    }
  }

  /** Whether it was acknowledged; false: certainly not made. */
  async #revoke (target: Target, path: string, what: string, held?: Held, method = 'DELETE'): Promise<boolean | undefined> {
    const tries = this.#random.chance(0.6) ? MAX_TRIES : 1
    let outcome: boolean | undefined = false
    let member: Member | undefined
    for (let i = 0; i < tries; i++) {
      // The same process may remember the attempt before; another one finds what it has left.
      if (member === undefined || this.#random.chance(0.5)) member = this.#random.pick(this.#world.members)
      const answer = await send(this.#world, {
        member, turns: REVOCATION_TURNS, method, path, what, target, ...(held && { held })
      })
      if (answer === undefined) continue
      switch (outcomeOf(answer.request)) {
        case 'accepted': return true
        case 'unavailable':
        case 'unreachable': outcome = undefined
          break
        case 'refused': this.#forget(held === undefined ? [] : [held])
          return outcome
        default: return outcome
      }
      await sleep(this.#random.between(0, 300))
    }
    return outcome
  }

  /** At once on a process that has to know it, and from then on now and then on each one. */
  async #revoked (ended: Held[]) {
    if (ended.length === 0) return
    for (const held of ended) this.#world.revoked.push({ held, at: now() })
    const strict = this.#world.members.filter(({ mode }) => mode === 'strict')
    await this.#use(this.#random.pick(ended), this.#random.pick(strict))
  }

  #forget (gone: Held[]) {
    this.#own = this.#own.filter((held) => !gone.includes(held) && isAlive(held))
  }

  #changeAll () {
    this.#changeSubject()
    this.#tenant = this.#newName()
  }

  /** With a session of its own. */
  #changeSubject () {
    this.#sub = this.#newName()
    this.#sid = this.#newName()
    this.#own = []
  }

  #newName (): string {
    return `${this.#name}-${this.#named++}`
  }
}
