import { fileURLToPath } from 'node:url'

const RUN = fileURLToPath(new URL('run.js', import.meta.url))

/**
 * The command line of Node.js for a process of its own. tap puts a loader into every process that a test starts, which
 * costs half a second of CPU and counts other lines of lib: `env` takes it out again.
 */
export function node (...args: string[]): [file: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}

/** The same for a file of test/support, which is TypeScript. Its stacks show the lines of the source. */
export const program = (file: string) => node('--enable-source-maps', RUN, file)

/** Nothing of the test's environment but where programs are. */
export const bareEnv = (env: Record<string, string> = {}) => ({ PATH: process.env.PATH, ...env })
