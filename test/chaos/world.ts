import { ask } from './http.ts'
import { now, type Request, type Token } from './history.ts'
import type { Member } from './member.ts'
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
  /** The sessions of which the end was acknowledged. */
  ended: string[]
  grace: Milliseconds
}

type Asked = Pick<Request, 'target' | 'settled' | 'names' | 'refresh'> & { member: Member, turns: number, method: string, path: string, what?: string, held?: Held }

export const ROUTES = ['/verifies', '/verifies-late', '/verifies-itself', '/does-not-verify']

/** Undefined where the member does not run. */
export async function send ({ requests }: World, { member, turns, method, path, what = path, held, ...more }: Asked) {
  const { address } = member
  if (address === undefined) return undefined
  const from = now()
  const { status, body, retryAfter, error } = await ask(address, method, path, held?.token)
  const { code, cutoff, refreshToken, sid, refreshExpiresAt } = body
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
    ...(typeof refreshToken === 'string' && {
      gave: { refreshToken, sid: String(sid), end: Date.parse(String(refreshExpiresAt)) / 1000 }
    }),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(error !== undefined && { error }),
    ...more
  }
  const index = requests.push(request) - 1
  return { request, body, index }
}

export function isAlive ({ exp }: Token): boolean {
  return Date.now() < exp * 1000
}
