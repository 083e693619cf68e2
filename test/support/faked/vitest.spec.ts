import { test, vi } from 'vitest'
import { scenes } from './scenes.ts'

const fakes = {
  begin: (now?: number) => { vi.useFakeTimers(now === undefined ? {} : { now }) },
  end: () => { vi.useRealTimers() }
}

for (const [name, play] of Object.entries(scenes(process.env.REDIS_URL!, fakes))) test(name, play)
