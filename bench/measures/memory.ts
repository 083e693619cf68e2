import type { Container, MemoryHandlers, MemoryResult } from '../processes/memory.ts'
import type { Settings } from '../settings.ts'
import { startChild } from '../support/child.ts'
import { inSession } from '../support/owner.ts'

export interface MemorySample extends MemoryResult {
  container: Container
  entries: number
}

export const CONTAINERS: Container[] = ['Denylist', 'Map<string, number>', 'Set<string>']

/** Each in a process of its own. */
export async function measureMemory (settings: Settings): Promise<MemorySample[]> {
  const samples: MemorySample[] = []
  for (const { entries, processes } of settings.memory) {
    for (let i = 0; i < processes; i++) {
      for (const container of CONTAINERS) {
        samples.push({ container, entries, ...await measureOne(container, entries) })
      }
    }
  }
  return samples
}

function measureOne (container: Container, entries: number): Promise<MemoryResult> {
  return inSession((session) => {
    const child = startChild<MemoryHandlers>(session, 'memory', ['--expose-gc', '--max-old-space-size=8192'])
    return child.call('run', { container, entries })
  })
}
