import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { SECTIONS, type Found, type SectionName } from '../sections.ts'
import type { Settings } from '../settings.ts'
import type { Machine } from './machine.ts'

/** One section as it was measured last. */
interface Measured<T> {
  date: string
  machine: Machine
  settings: Settings
  found: T
}

type All = { [S in SectionName]?: Measured<Found[S]> }

/** What was measured is on disk at once: nothing of it is lost when a later section fails, or is run another day. */
export class Saved {
  readonly #folder: string
  readonly all: All = {}

  private constructor (folder: string) {
    this.#folder = folder
  }

  /** With what earlier whole runs of a section found. */
  static async open (kind: 'trial' | 'full'): Promise<Saved> {
    const saved = new Saved(fileURLToPath(new URL(`../raw/${kind}/`, import.meta.url)))
    await mkdir(saved.#folder, { recursive: true })
    if (kind === 'trial') return saved
    for (const section of Object.keys(SECTIONS) as SectionName[]) await saved.#read(section)
    return saved
  }

  get found (): Partial<Found> {
    return Object.fromEntries(Object.entries(this.all).map(([section, { found }]) => [section, found]))
  }

  async add<S extends SectionName> (section: S, measured: Measured<Found[S]>) {
    this.all[section] = measured as All[S]
    await writeFile(this.#file(section), JSON.stringify(measured, rounded))
  }

  async #read (section: SectionName) {
    try {
      this.all[section] = JSON.parse(await readFile(this.#file(section), 'utf8'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  #file (section: SectionName) {
    return `${this.#folder}${section}.json`
  }
}

function rounded (_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value
}
