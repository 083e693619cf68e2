import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Owner } from '../../test/support/redis.ts'

const LOADER = fileURLToPath(new URL('../../test/support/loader.cjs', import.meta.url))

/** What a process of the benchmark can be asked for. */
type Handlers<H> = { [name in keyof H]: (argument: never) => unknown }
interface Call { id: number, name: string, argument: unknown }
interface Answer { id: number, result?: unknown, error?: string }

export interface Child<H extends Handlers<H>> {
  call<K extends keyof H & string> (name: K, ...argument: Parameters<H[K]>): Promise<Awaited<ReturnType<H[K]>>>
  end (): Promise<void>
}

/** In the child: answers what the parent asks. It ends with its parent. */
export function serve<H extends Handlers<H>> (handlers: H) {
  process.on('message', async ({ id, name, argument }: Call) => {
    try {
      process.send!({ id, result: await handlers[name as keyof H](argument as never) })
    } catch (error) {
      process.send!({ id, error: (error as Error).stack ?? String(error) })
    }
  })
  process.once('disconnect', () => process.exit())
}

/** In the parent: a file of processes/ as a process of its own. */
export function startChild<H extends Handlers<H>> (owner: Owner, name: string, nodeArgs: string[] = []): Child<H> {
  const child = fork(fileURLToPath(new URL(`../processes/${name}.ts`, import.meta.url)), {
    // Not tsx: nothing of a loader that changes JavaScript is to be measured.
    execArgv: ['--require', LOADER, ...nodeArgs],
    env: { ...process.env, NODE_ENV: 'production' }
  })
  const exited = once(child, 'exit')
  const waiting = new Map<number, (answer: Answer) => void>()
  let calls = 0
  child.on('message', (answer: Answer) => {
    waiting.get(answer.id)?.(answer)
    waiting.delete(answer.id)
  })
  child.on('exit', (code, signal) => {
    for (const [id, settle] of waiting) settle({ id, error: `process ${name} ended with ${signal ?? `code ${code}`}` })
  })
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exited
  }
  owner.after(end)
  return {
    end,
    call: (name, ...[argument]) => new Promise((resolve, reject) => {
      const id = calls++
      waiting.set(id, ({ result, error }) => error === undefined ? resolve(result as never) : reject(new Error(error)))
      child.send({ id, name, argument })
    })
  }
}
