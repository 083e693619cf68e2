/** One load: so many connections, measured in so many rounds of so many seconds. */
export interface Load {
  connections: number
  rounds: number
  seconds: number
}

export interface Settings {
  quick: boolean
  /** How many distinct valid tokens the requests draw from at random: more than @fastify/jwt's verify.cache holds. */
  tokens: number
  /** Revoked tokens that replicas hold. */
  entries: number[]
  hs256: Load[]
  es256: Load[]
  /** Before anything of a server is measured, and for how long. */
  warmUp: { connections: number, seconds: number }
  /** Before each run, in seconds. */
  leadIn: number
  /** Each contender and what it is compared with, asked at the same time: so many pairs of processes, so many rounds with each. */
  sideBySide: { processes: number, warmUp: number, rounds: number, seconds: number }
  /** All contenders share the seconds of a round. */
  direct: { rounds: number, seconds: number }
  revocations: { rounds: number, seconds: number, concurrency: number }
  propagation: { followers: number, revocations: number, connections: number }
  memory: Array<{ entries: number, processes: number }>
  startUp: { entries: number, processes: number }
  redisBytes: { revocations: number }
}

/** What the main table, the chart and the targets speak of. */
export const MAIN_CONNECTIONS = 64

const FULL: Settings = {
  quick: false,
  tokens: 1250,
  entries: [0, 100_000, 1_000_000],
  hs256: [
    { connections: 1, rounds: 3, seconds: 0.5 },
    { connections: 8, rounds: 3, seconds: 0.5 },
    { connections: MAIN_CONNECTIONS, rounds: 6, seconds: 1 },
    { connections: 256, rounds: 3, seconds: 0.5 }
  ],
  es256: [{ connections: MAIN_CONNECTIONS, rounds: 4, seconds: 1 }],
  warmUp: { connections: MAIN_CONNECTIONS, seconds: 1.5 },
  leadIn: 0.4,
  sideBySide: { processes: 3, warmUp: 2.5, rounds: 5, seconds: 0.6 },
  direct: { rounds: 5, seconds: 5 },
  revocations: { rounds: 3, seconds: 1, concurrency: 64 },
  propagation: { followers: 8, revocations: 300, connections: 64 },
  memory: [{ entries: 1_000_000, processes: 2 }, { entries: 10_000_000, processes: 1 }],
  startUp: { entries: 1_000_000, processes: 3 },
  redisBytes: { revocations: 50_000 }
}

const QUICK: Settings = {
  ...FULL,
  quick: true,
  entries: [0, 1000, 100_000],
  hs256: FULL.hs256.map(({ connections }) => connections === MAIN_CONNECTIONS
    ? { connections, rounds: 3, seconds: 0.7 }
    : { connections, rounds: 1, seconds: 0.3 }),
  es256: [{ connections: MAIN_CONNECTIONS, rounds: 1, seconds: 0.3 }],
  warmUp: { connections: MAIN_CONNECTIONS, seconds: 0.5 },
  leadIn: 0.1,
  sideBySide: { processes: 1, warmUp: 1, rounds: 2, seconds: 0.4 },
  direct: { rounds: 1, seconds: 3 },
  revocations: { rounds: 1, seconds: 0.5, concurrency: 64 },
  propagation: { followers: 8, revocations: 50, connections: 64 },
  memory: [{ entries: 100_000, processes: 1 }],
  startUp: { entries: 100_000, processes: 1 },
  redisBytes: { revocations: 5000 }
}

/** `--quick`, and the names of the sections to be measured: all of them where none is given. */
export function settingsOf<S extends string> (args: string[], sections: S[]): { settings: Settings, only: S[] } {
  const isSection = (arg: string): arg is S => sections.includes(arg as S)
  for (const arg of args) {
    if (arg !== '--quick' && !isSection(arg)) throw new Error(`unknown argument ${arg}; there are --quick and the names of sections: ${sections.join(', ')}`)
  }
  const given = args.filter(isSection)
  return { settings: args.includes('--quick') ? QUICK : FULL, only: given.length > 0 ? given : sections }
}
