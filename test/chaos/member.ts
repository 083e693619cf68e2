import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { bareEnv, program } from '../support/child.ts'
import type { Owner } from '../support/redis.ts'
import type { Message } from './app.ts'
import { now, type Mode, type Run } from './history.ts'
import { MAX_SIGNING_AHEAD, type WrongClock } from './plan.ts'
import type { Milliseconds } from '../../lib/time.ts'

const APP = fileURLToPath(new URL('app.ts', import.meta.url))
const START = 60_000

/** As whom every member speaks to Redis: what is forbidden to this user is not forbidden to the chaos itself. */
export const USER = { name: 'members', password: 'password' }

const SECRET = 'a secret of the chaos, of more than 32 bytes'

// A crash of ours must leave no process behind; one that is stopped would not notice that we are gone.
const left = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of left) child.kill('SIGKILL')
})

/** Where to send requests while a process lives. */
export interface Address {
  /** Index of its run. */
  run: number
  port: number
  agent: Agent
  /** Before this moment its clock is so far ahead that nobody else takes what it signs. */
  signsFrom: Milliseconds
}

/** One application process of several lives. */
export class Member {
  readonly name: string
  readonly mode: Mode
  /** undefined while it does not run. */
  address: Address | undefined
  readonly #options: object
  readonly #runs: Run[]
  #child: ChildProcess | undefined
  #run: Run | undefined
  #silent: Promise<unknown> | undefined

  constructor (t: Owner, name: string, mode: Mode, options: object, runs: Run[]) {
    this.name = name
    this.mode = mode
    this.#options = options
    this.#runs = runs
    t.after(() => this.kill())
  }

  get signs (): boolean {
    return this.address !== undefined && now() >= this.address.signsFrom
  }

  async start (clock?: WrongClock) {
    const run: Run = {
      member: this.name,
      mode: this.mode,
      from: Infinity,
      to: Infinity,
      samples: [],
      stalls: [],
      tellings: [],
      stderr: '',
      ...(clock && { ahead: { by: clock.by, until: Infinity } })
    }
    const index = this.#runs.push(run) - 1
    const child = spawn(...program(APP), {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: bareEnv({ JWT_SECRET: SECRET, REVOCATION: JSON.stringify({ ...this.#options, mode: this.mode }), ...(clock && { CLOCK: JSON.stringify(clock) }) })
    })
    this.#child = child
    this.#run = run
    left.add(child)
    child.stderr!.setEncoding('utf8').on('data', (chunk) => { run.stderr += chunk })
    child.once('exit', (code, signal) => {
      left.delete(child)
      if (run.to !== Infinity) return
      run.to = now()
      run.died = `code ${code}, signal ${signal}`
      this.address = undefined
    })
    this.#silent = once(child, 'disconnect')
    const listens = new Promise<Extract<Message, { listens: number }>>((resolve) => {
      child.on('message', (message: Message) => {
        if ('listens' in message) resolve(message)
        else if ('stalled' in message) run.stalls.push(message.stalled)
        else if ('tells' in message) run.tellings.push(message.tells)
        else run.samples.push(message)
      })
    })
    const patience = new AbortController()
    const message = await Promise.race([listens, once(child, 'exit', patience), sleep(START, undefined, patience)])
    patience.abort()
    if (typeof message !== 'object' || !('listens' in message)) {
      run.died ??= `it did not listen within ${START} ms`
      return
    }
    run.from = now()
    // JSON has no Infinity.
    const until = message.rightFrom ?? Infinity
    if (run.ahead !== undefined) run.ahead.until = until
    const signsFrom = clock !== undefined && clock.by > MAX_SIGNING_AHEAD ? until : 0
    this.address = { run: index, port: message.listens, agent: new Agent({ keepAlive: true }), signsFrom }
  }

  /** Resolves when the process is gone and everything that it said has come. */

  async kill () {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    this.address = undefined
    this.#run!.to = Math.min(this.#run!.to, now())
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    await this.#silent
  }

  pause () {
    this.#child?.kill('SIGSTOP')
  }

  resume () {
    this.#child?.kill('SIGCONT')
  }
}
