import { contendersWith } from '../contenders/contender.ts'
import type { DirectSample } from '../measures/direct.ts'
import type { MemorySample } from '../measures/memory.ts'
import type { Propagation } from '../measures/propagation.ts'
import type { RedisBytes } from '../measures/redis-bytes.ts'
import type { Sample } from '../measures/requests.ts'
import type { RevocationSample } from '../measures/revocations.ts'
import type { Pair } from '../measures/side-by-side.ts'
import type { StartUpSample } from '../measures/start-up.ts'
import type { Settings } from '../settings.ts'
import { median } from '../support/stats.ts'
import type { Algorithm } from '../support/tokens.ts'
import type { Machine } from './machine.ts'

/** All that was measured: results.json. */
export interface Results extends Measured {
  date: string
  machine: Machine
  settings: Settings
}

export type Section = keyof Measured

interface Measured {
  requests: Sample[]
  sideBySide: Pair[]
  direct: DirectSample[]
  revocations: RevocationSample[]
  propagation: Propagation[]
  memory: MemorySample[]
  startUp: StartUpSample[]
  redisBytes: RedisBytes
}

type Figure = 'perSecond' | 'p99' | 'cpu' | 'commands'

/** One column of the matrix. */
export interface Cell {
  algorithm: Algorithm
  connections: number
}

/** Medians over the rounds, and medians of the ratios within each round: what slowed a round down slowed it for all. */
export class Matrix {
  readonly #samples: Sample[]
  readonly #pairs: Pair[]
  /** In the order in which they are listed. */
  readonly contenders: string[]

  constructor ({ requests, sideBySide = [], settings }: Pick<Results, 'requests' | 'sideBySide' | 'settings'>) {
    this.#samples = requests
    this.#pairs = sideBySide
    this.contenders = contendersWith(settings.entries).map(({ name }) => name)
  }

  connections (algorithm: Algorithm): number[] {
    const found = this.#samples.filter((sample) => sample.algorithm === algorithm).map(({ connections }) => connections)
    return [...new Set(found)].sort((a, b) => a - b)
  }

  median (contender: string, figure: Figure, cell: Cell): number {
    return median(this.#rounds(contender, figure, cell).values())
  }

  cpuRatio (contender: string, base: string, cell: Cell): number {
    return ratio(this.#rounds(contender, 'cpu', cell), this.#rounds(base, 'cpu', cell))
  }

  /** Of CPU per request, side by side; undefined for what was not compared. */
  ratio (contender: string, base: string, algorithm: Algorithm): number | undefined {
    const ratios = ratiosOf(this.#pairs, contender, base, algorithm)
    return ratios.length === 0 ? undefined : median(ratios)
  }

  background (contender: string): number {
    return median(this.#samples.filter((sample) => sample.contender === contender).map(({ background }) => background))
  }

  #rounds (contender: string, figure: Figure, { algorithm, connections }: Cell): Map<number, number> {
    return new Map(this.#samples
      .filter((sample) => sample.contender === contender && sample.algorithm === algorithm && sample.connections === connections)
      .map((sample) => [sample.round, sample[figure]]))
  }
}

/** One for each round in which both were asked at the same time. */
export function ratiosOf (pairs: Pair[], contender: string, base: string, algorithm: Algorithm): number[] {
  return pairs
    .filter((pair) => pair.contender === contender && pair.base === base && pair.algorithm === algorithm)
    .map(({ cpu, baseCpu }) => cpu / baseCpu)
}

export function directRatio (samples: DirectSample[], contender: string, base: string): number {
  const rounds = (name: string) => new Map(samples.filter((sample) => sample.contender === name).map(({ round, cpu }) => [round, cpu]))
  return ratio(rounds(contender), rounds(base))
}

function ratio (values: Map<number, number>, bases: Map<number, number>): number {
  return median([...values].map(([round, value]) => value / bases.get(round)!))
}
