import type { Random } from './random.ts'
import type { Milliseconds } from '../../lib/time.ts'

export const REDIS_FAULTS = [
  'redis killed', 'redis replaced', 'redis paused', 'memory full', 'everything flushed', 'clients killed', 'scripts flushed',
  'command forbidden', 'log restored'
] as const
export const LINK_FAULTS = ['link cut', 'link refused', 'link delayed', 'link half-open', 'link garbage', 'link nonsense'] as const
export const PROCESS_FAULTS = ['process paused', 'process killed', 'clock ahead'] as const

export const FAULTS = [...REDIS_FAULTS, ...LINK_FAULTS, ...PROCESS_FAULTS]
export type FaultKind = typeof FAULTS[number]

export interface PlannedFault {
  kind: FaultKind
  /** 'redis', or a member. */
  on: string
  /** After the start. */
  at: Milliseconds
  lasts: Milliseconds
  /** From 0 to 1: how long the delay is, which command is forbidden, which copy is restored, what the clock shows. */
  strength: number
}

/** Redis forgets everything, or everything since a copy. */
export const LOSSES: readonly FaultKind[] = ['redis replaced', 'everything flushed', 'log restored']

/** Which commands the members' user may be forbidden. Not INFO: without it ioredis prints a warning of its own. */
export const COMMANDS = [
  'get', 'mget', 'set', 'eval', 'exists', 'time', 'pttl', 'pexpire', 'pexpireat', 'expireat',
  'zadd', 'zremrangebyscore', 'zrevrange', 'zrevrank', 'zrange', 'xadd', 'xlen', 'xinfo', 'xrange', 'xrevrange', 'xread', 'xtrim', 'scan'
] as const

export function commandOf (strength: number): typeof COMMANDS[number] {
  return COMMANDS[Math.floor(strength * COMMANDS.length)]!
}

/** What the clock of a process shows too much; and for how long after it listens, where that is not all its life. */
export interface WrongClock {
  by: Milliseconds
  rightAfter?: Milliseconds
}

/** Tokens that a process signs must be good for processes whose clock is right: `exp` is then within maxTokenLifetime. */
export const MAX_SIGNING_AHEAD: Milliseconds = 20_000
/** Every token has expired by such a clock. */
const LEAST_FAR: Milliseconds = 120_000
const HOUR: Milliseconds = 3_600_000

/** A clock is ahead by seconds for a whole life, or by minutes to an hour until it is set right. */
export function clockOf ({ strength, lasts }: PlannedFault): WrongClock {
  const [isFar, part] = strength < 0.5 ? [false, strength * 2] : [true, strength * 2 - 1]
  if (!isFar) return { by: Math.round(1000 + part * (MAX_SIGNING_AHEAD - 1000)) }
  return { by: Math.round(LEAST_FAR + part * (HOUR - LEAST_FAR)), rightAfter: Math.round(lasts * 0.3) }
}

/** Each is over in a moment. */
const BRIEF: readonly FaultKind[] = ['everything flushed', 'clients killed', 'scripts flushed', 'link cut']
const FIRST: Milliseconds = 500
const LONGEST: Milliseconds = 2500
/** A process with a wrong clock has to do something before its life ends. */
const LIFE: [shortest: Milliseconds, longest: Milliseconds] = [2500, 8000]

/** What will happen until `end`: by the seed alone, never two faults of one thing at a time, and now and then some peace. */
export function plan (random: Random, members: string[], end: Milliseconds, calm: Milliseconds): PlannedFault[] {
  const faults: PlannedFault[] = []
  let at = FIRST
  while (at < end) {
    const fault = one(random, members, at, end)
    faults.push(fault)
    if (random.chance(0.35)) {
      const other = one(random, members, at + random.between(0, fault.lasts), end)
      if (thingOf(other) !== thingOf(fault) && other.at < end) faults.push(other)
    }
    const over = Math.max(...faults.map(({ at, lasts }) => at + lasts))
    // What was lost is put back in peace, or is not.
    const isCalm = random.chance(LOSSES.includes(fault.kind) ? 0.6 : 0.06)
    at = over + (isCalm ? calm * random.between(1, 2) : random.between(50, 600))
  }
  return faults
}

/** The process of a member and its connection to Redis are two things. */
export function thingOf ({ kind, on }: PlannedFault): string {
  if (on === 'redis') return on
  return `${(LINK_FAULTS as readonly FaultKind[]).includes(kind) ? 'link' : 'process'} ${on}`
}

function one (random: Random, members: string[], at: Milliseconds, end: Milliseconds): PlannedFault {
  const of = random.weighted({ redis: 5, link: 4, process: 3 })
  const kind = random.pick<FaultKind>(of === 'redis' ? REDIS_FAULTS : of === 'link' ? LINK_FAULTS : PROCESS_FAULTS)
  const [shortest, longest] = kind === 'clock ahead' ? LIFE : [100, LONGEST]
  const lasts = Math.max(0, Math.min(random.between(shortest, longest), end - at))
  return { kind, on: of === 'redis' ? 'redis' : random.pick(members), at, lasts: BRIEF.includes(kind) ? 0 : lasts, strength: random.next() }
}
