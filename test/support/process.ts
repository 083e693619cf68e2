import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { bareEnv, program } from './child.ts'
import type { Owner } from './redis.ts'

export interface AppProcess {
  readonly url: string
  /** Resolves when the process is gone. */
  kill (signal: NodeJS.Signals): Promise<{ code: number | null, signal: NodeJS.Signals | null }>
}

const SERVER = fileURLToPath(new URL('server.ts', import.meta.url))

/** test/support/server.ts as a process of its own, with nothing of the test's environment. Resolves when it listens. */
export async function startApp (t: Owner, env: Record<string, string> = {}): Promise<AppProcess> {
  const child = spawn(...program(SERVER), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: bareEnv(env)
  })
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal }))
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const printed = await Promise.race([
    once(child.stdout, 'data'),
    exited.then(({ code }) => { throw new Error(`the server ended with code ${code} before it listened`) })
  ])
  return {
    url: `http://127.0.0.1:${Number(printed[0])}`,
    async kill (signal) {
      child.kill(signal)
      return await exited
    }
  }
}
