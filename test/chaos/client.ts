import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './http.ts'
import { now, outcomeOf, type Request, type Target, type Token } from './history.ts'
import type { Member } from './member.ts'
import type { Random } from './random.ts'
import type { Milliseconds } from '../../lib/time.ts'

/** A token as its holder has it. */
export interface Held extends Token {
  token: string
}

/** What all clients share. */
export interface World {
  members: Member[]
  requests: Request[]
  tokens: Held[]
  /** Those of which the revocation was acknowledged, with when. */
  revoked: Array<{ held: Held, at: Milliseconds }>
}

type Asked = Pick<Request, 'target' | 'settled' | 'sub'> & { member: Member, turns: number, method: string, path: string, what?: string, held?: Held }

export const ROUTES = ['/verifies', '/verifies-late', '/verifies-itself', '/does-not-verify']
const HISTORY = '/v1/jwt/history'
/** A check and a revocation. */
const REVOCATION_TURNS = 2
/** How long after its revocation a token is mostly used again. */
const RECENT: Milliseconds = 4000
const MAX_TRIES = 4

/** Undefined where the member does not run. */
export async function send ({ requests }: World, { member, turns, method, path, what = path, held, ...more }: Asked) {
  const { address } = member
  if (address === undefined) return undefined
  const from = now()
  const { status, body, retryAfter, error } = await ask(address, method, path, held?.token)
  const { code, cutoff } = body
  const request: Request = {
    run: address.run,
    what: `${method} ${what}`,
    turns,
    from,
    to: now(),
    status,
    ...(held && { jti: held.jti }),
    ...(typeof code === 'string' && { code }),
    ...(typeof cutoff === 'number' && { cutoff }),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(error !== undefined && { error }),
    ...more
  }
  const index = requests.push(request) - 1
  return { request, body, index }
}

/** One of many who issue, use and revoke at once; most of the time tokens of a subject of its own. */
export class Client {
  readonly #world: World
  readonly #random: Random
  readonly #name: string
  #subjects = 0
  #sub = ''
  #own: Held[] = []

  constructor (world: World, random: Random, name: string) {
    this.#world = world
    this.#random = random
    this.#name = name
    this.#changeSubject()
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
    switch (random.weighted({ issue: 12, use: 25, reuse: 35, any: 8, token: 9, id: 7, others: 2, subject: 2, hammer: 1 })) {
      case 'issue': return this.#issue()
      case 'use': return this.#use(random.pick(this.#own))
      case 'reuse': return this.#useRevoked()
      case 'any': return this.#use(random.pick(this.#world.tokens))
      case 'token': return this.#revokeToken(({ jti }) => `/${jti}`, '/:jti')
      case 'id': return this.#revokeToken(({ id }) => `/id/${id}`, '/id/:id')
      case 'others': return this.#revokeSubject('others')
      case 'subject': return this.#revokeSubject('subject')
      case 'hammer': return random.chance(0.5) ? this.#hammerAtOnce() : this.#hammerInTurn()
    }
  }

  async #issue () {
    const sub = this.#sub
    const lifetime = Math.round(this.#random.between(4, 45))
    const path = `/login?sub=${sub}&seconds=${lifetime}`
    const signers = this.#world.members.filter(({ signs }) => signs)
    if (signers.length === 0) return
    const answer = await send(this.#world, { member: this.#random.pick(signers), turns: 2, method: 'POST', path, what: '/login', sub })
    if (answer === undefined) return
    if (answer.request.status !== 200) {
      // It may be cut off for as long as some clock is ahead.
      if (outcomeOf(answer.request) === 'refused' || this.#random.chance(0.1)) this.#changeSubject()
      return
    }
    const { token, jti, id } = answer.body as { token: string, jti: string, id: string }
    const { iat, exp } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
    const held = { token, jti, id, sub, iat, exp, lifetime, issue: answer.index }
    this.#world.tokens.push(held)
    if (sub === this.#sub) this.#own.push(held)
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
    const speaker = this.#random.chance(0.5) ? target : this.#random.pick(this.#own)
    const isDone = await this.#revoke({ kind: 'token', jti: target.jti }, path(target), what, speaker)
    if (isDone !== false) this.#forget([target])
    if (isDone) await this.#revoked([target])
    // What it was that failed is left to others to find as they do.
    else if (isDone === undefined && this.#random.chance(0.6)) await this.#revokeSubject('others')
  }

  async #revokeSubject (kind: 'subject' | 'others', isLast = this.#random.chance(0.3)) {
    const speaker = this.#own.at(-1)
    if (speaker === undefined) return
    await this.#ended(await this.#askFor(kind, speaker), this.#own.filter((held) => kind === 'subject' || held !== speaker), isLast)
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
    const path = `/sub/${sub}${kind === 'others' ? '?except=current' : ''}`
    return this.#revoke({ kind, sub }, path, path.replace(sub, ':sub'), speaker)
  }

  async #ended (isDone: boolean | undefined, ended: Held[], isLast: boolean) {
    if (isDone !== false) this.#forget(ended)
    if (isDone) await this.#revoked(ended)
    // A cutoff of which nobody knows whether and when it was made: it says nothing any more what becomes of the subject's tokens.
    if (isDone === undefined || isLast) this.#changeSubject()
  }

  /** Whether it was acknowledged; false: certainly not made. */
  async #revoke (target: Target, path: string, what: string, held: Held): Promise<boolean | undefined> {
    const tries = this.#random.chance(0.6) ? MAX_TRIES : 1
    let outcome: boolean | undefined = false
    let member: Member | undefined
    for (let i = 0; i < tries; i++) {
      // The same process may remember the attempt before; another one finds what it has left.
      if (member === undefined || this.#random.chance(0.5)) member = this.#random.pick(this.#world.members)
      const answer = await send(this.#world, {
        member, turns: REVOCATION_TURNS, method: 'DELETE', path: HISTORY + path, what: HISTORY + what, held, target
      })
      if (answer === undefined) continue
      switch (outcomeOf(answer.request)) {
        case 'accepted': return true
        case 'unavailable':
        case 'unreachable': outcome = undefined
          break
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

  #changeSubject () {
    this.#sub = `${this.#name}-${this.#subjects++}`
    this.#own = []
  }
}

export function isAlive ({ exp }: Token): boolean {
  return Date.now() < exp * 1000
}
