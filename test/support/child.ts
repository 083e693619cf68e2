/**
 * The command line of Node.js for a process of its own. tap puts a loader into every process that a test starts, which
 * costs a second of CPU beside tsx and counts other lines of lib: `env` takes it out again.
 */
export function node (...args: string[]): [file: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}

/** Nothing of the test's environment but where programs are. */
export const bareEnv = (env: Record<string, string> = {}) => ({ PATH: process.env.PATH, ...env })
