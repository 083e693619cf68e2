import type { Milliseconds } from './history.ts'
import type { Random } from './random.ts'

export const REDIS_FAULTS = ['redis killed', 'redis replaced', 'redis paused', 'memory full', 'everything flushed', 'clients killed', 'scripts flushed'] as const
export const LINK_FAULTS = ['link cut', 'link refused', 'link delayed', 'link half-open', 'link garbage', 'link nonsense'] as const
export const PROCESS_FAULTS = ['process paused', 'process killed'] as const

export const FAULTS = [...REDIS_FAULTS, ...LINK_FAULTS, ...PROCESS_FAULTS]
export type FaultKind = typeof FAULTS[number]

export interface PlannedFault {
  kind: FaultKind
  /** 'redis', or a member. */
  on: string
  /** After the start. */
  at: Milliseconds
  lasts: Milliseconds
  /** Of the delay, from 0 to 1. */
  strength: number
}

/** Redis forgets everything. */
export const LOSSES: readonly FaultKind[] = ['redis replaced', 'everything flushed']

/** Each is over in a moment. */
const BRIEF: readonly FaultKind[] = ['everything flushed', 'clients killed', 'scripts flushed', 'link cut']
const FIRST: Milliseconds = 500
const LONGEST: Milliseconds = 2500

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
  return on === 'redis' ? on : `${kind.split(' ')[0]} ${on}`
}

function one (random: Random, members: string[], at: Milliseconds, end: Milliseconds): PlannedFault {
  const of = random.weighted({ redis: 5, link: 4, process: 3 })
  const kind = random.pick<FaultKind>(of === 'redis' ? REDIS_FAULTS : of === 'link' ? LINK_FAULTS : PROCESS_FAULTS)
  const lasts = Math.max(0, Math.min(random.between(100, LONGEST), end - at))
  return { kind, on: of === 'redis' ? 'redis' : random.pick(members), at, lasts: BRIEF.includes(kind) ? 0 : lasts, strength: random.next() }
}
