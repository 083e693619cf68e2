/** Monotonic, and the same for every process of the machine. */
export const now = (): Milliseconds => Number(process.hrtime.bigint()) / 1e6

/** A moment by that clock, or a duration. */
export type Milliseconds = number

export interface Interval {
  from: Milliseconds
  to: Milliseconds
}

export type Mode = 'strict' | 'replica'

/** What the clock of a process shows more than everybody else's, until a moment. */
export interface Ahead {
  by: Milliseconds
  until: Milliseconds
}

/** What a token can be revoked by. */
export interface Names {
  jti?: string | undefined
  sub?: string | undefined
  /** Of its session. */
  sid?: string | undefined
  /** The value of its listed claim. */
  tenant?: string | undefined
}

/** A line of the audit log: a process says that it revoked a token, or all of a subject, a session or a tenant. */
export interface Telling extends Names {
  at: Milliseconds
  /** The subject of who asked. */
  by?: string | undefined
  /** Seconds since the epoch, of what is no single token. */
  cutoff?: number
  /** Seconds since the epoch, of a token. */
  revokedAt?: number
}

/** One life of an application process. A member that is killed and started again has several. */
export interface Run extends Interval {
  member: string
  mode: Mode
  /** What a replica said of itself at `at`: until when it knew all that Redis did. */
  samples: Array<{ at: Milliseconds, inStepAt: Milliseconds }>
  /** When its event loop stood still. */
  stalls: Interval[]
  tellings: Telling[]
  /** Absent where its clock was right. */
  ahead?: Ahead
  /** How it ended, where nobody had killed it. */
  died?: string
  stderr: string
}

export interface Fault extends Interval {
  kind: string
  /** 'redis', or the member whose process or whose connection to Redis it was. */
  on: string
  /** Redis forgot everything, or everything since it was copied. */
  loses?: boolean
  /** When the copy was taken that Redis went on with. */
  copied?: Interval
  /** Which command, which clock. */
  what?: string
}

export interface Token extends Names {
  jti: string
  /** Of its record, where it has one. */
  id: string
  sub: string
  /** Signed as an identity provider does: no cutoff was looked at, and it has no record. */
  isForeign?: boolean
  /** Of a session that is kept with refresh tokens: each door that ends the token ends the session. */
  isRefreshable?: boolean
  /** Seconds since the epoch. */
  iat: number
  exp: number
  /** How many seconds it was asked to live. */
  lifetime: number
  /** Index of the request that gave it. */
  issue: number
}

/** What a request was to revoke. */
export type Target =
  | { kind: 'token', jti: string }
  | { kind: 'subject', sub: string }
  /** All recorded tokens of the subject but the one that speaks. */
  | { kind: 'others', sub: string }
  | { kind: 'session', sid: string }
  | { kind: 'claim', tenant: string }

/** The cutoff of a session: whatever iat its tokens have. */
export const EVERY_IAT = 2 ** 32 - 1

export interface Request extends Interval {
  /** Index of the life of the process that was asked. */
  run: number
  what: string
  /** How many times storeTimeout it may take. */
  turns: number
  /** The jti of the token that it presents. */
  jti?: string
  target?: Target
  /** Of a log-in: what its token was to have. */
  names?: Names
  /** 0: the connection failed. */
  status: number
  code?: string
  retryAfter?: string
  error?: string
  /** Of a subject, or a tenant, that was cut off. */
  cutoff?: number
  /** The refresh token that it presents. */
  refresh?: string
  /** The refresh token that it gave, with its session and when that ends, in seconds since the epoch. */
  gave?: Given
  /** It ended a session only by what else it did, as the checker found. */
  isDerived?: boolean
  /** It may have come to what had ended already, and nobody tells that again. */
  mayBeSilent?: boolean
  /** Asked when all faults were long over. */
  settled?: boolean
}

export interface Given {
  refreshToken: string
  sid: string
  end: number
}

/** What happened in one run of the chaos. */
export interface History {
  started: Milliseconds
  /** What has to be added to a moment for the milliseconds since the epoch. */
  epoch: Milliseconds
  storeTimeout: Milliseconds
  maxStaleness: Milliseconds
  /** How long after its first use a refresh token gives its successor again. */
  grace: Milliseconds
  runs: Run[]
  faults: Fault[]
  /** When the event loop of the clients and the proxies stood still. */
  stalls: Interval[]
  tokens: Token[]
  requests: Request[]
}

export const OUTCOMES = ['accepted', 'refused', 'invalid', 'expired', 'forbidden', 'unavailable', 'unreachable', 'unexpected'] as const
export type Outcome = typeof OUTCOMES[number]

/** What became of a request: exactly one of these. */
export function outcomeOf ({ status, code, retryAfter }: Request): Outcome {
  if (status === 0) return 'unreachable'
  if (status === 200) return 'accepted'
  if (status === 401 && code === 'FST_JWT_REVOKED') return 'refused'
  if (status === 401 && code === 'FST_JWT_REFRESH_INVALID') return 'invalid'
  // The second one: a token that expires after it was verified, and before its claims are looked at.
  if (status === 401 && (code === 'FST_JWT_AUTHORIZATION_TOKEN_EXPIRED' || code === 'FST_JWT_NOT_REVOCABLE')) return 'expired'
  if (status === 403 && code === 'FST_JWT_REVOCATION_FORBIDDEN') return 'forbidden'
  if (status === 503 && code === 'FST_JWT_REVOCATION_UNAVAILABLE' && retryAfter === '1') return 'unavailable'
  return 'unexpected'
}

export function overlap (a: Interval, b: Interval): boolean {
  return a.from <= b.to && b.from <= a.to
}
