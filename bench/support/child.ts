import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Owner } from '../../test/support/redis.ts'
import type { Answer, Handlers } from './serve.ts'

export interface Child<H extends Handlers<H>> {
  call<K extends keyof H & string> (name: K, ...argument: Parameters<H[K]>): Promise<Awaited<ReturnType<H[K]>>>
}

/** A compiled file of processes/ as a process of its own: plain JavaScript, because a loader of TypeScript costs something on every request. */
export function startChild<H extends Handlers<H>> (folder: string, owner: Owner, name: string, nodeArgs: string[] = []): Child<H> {
  const child = fork(join(folder, 'bench', 'processes', `${name}.js`), {
    execArgv: nodeArgs,
    env: { ...process.env, NODE_OPTIONS: '', NODE_ENV: 'production' }
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
  owner.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exited
  })
  return {
    call: (name, ...[argument]) => new Promise((resolve, reject) => {
      const id = calls++
      waiting.set(id, ({ result, error }) => error === undefined ? resolve(result as never) : reject(new Error(error)))
      child.send({ id, name, argument })
    })
  }
}
