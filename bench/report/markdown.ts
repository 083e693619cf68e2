import { SECTIONS, type SectionName } from '../sections.ts'
import type { Machine } from './machine.ts'
import type { Saved } from './saved.ts'
import { targetsOf, targetTable } from './targets.ts'

/** results.md. */
export function markdown (saved: Saved): string {
  const parts = (Object.keys(SECTIONS) as SectionName[]).flatMap((section) => saved.all[section] ? [render(saved, section)] : [])
  const dates = Object.values(saved.all).map(({ date }) => date.slice(0, 10)).sort()
  return [
    '# Benchmark',
    [`- ${[...new Set(dates)].join(', ')}`, ...new Set(Object.values(saved.all).map(({ machine }) => lines(machine)))].join('\n'),
    '[docs/benchmarks.md](../docs/benchmarks.md) says how this was measured. The control is a second @fastify/jwt alone: by so much two equals differ.',
    ...parts,
    '## What must be reached',
    targetTable(targetsOf(saved.found))
  ].join('\n\n') + '\n'
}

function render<S extends SectionName> (saved: Saved, section: S): string {
  const { found, settings } = saved.all[section]!
  return SECTIONS[section].render(found as never, settings)
}

function lines ({ cpu, cores, memory, os, versions }: Machine): string {
  return [
    `- ${cpu}, ${cores} cores, ${memory} GB of memory, ${os}`,
    `- ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ')}`
  ].join('\n')
}
