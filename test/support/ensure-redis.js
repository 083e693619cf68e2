// Runs before the tests: they talk to a real server, and this makes sure that one is there.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const BINARIES = process.env.REDIS_SERVER ? [process.env.REDIS_SERVER] : ['redis-server', 'valkey-server']
const OLDEST = [6, 2]
const POLICY = '/usr/sbin/policy-rc.d'

const WANTED = `The tests start their own Redis, 6.2 or newer, or Valkey, and need its server on the PATH:
  Debian, Ubuntu: sudo apt-get install redis-server   (where that is older than 6.2: the package "redis" of packages.redis.io, or valkey-server)
  macOS:          brew install redis                  (or valkey)
  others:         any package or build that puts redis-server or valkey-server on the PATH
A server elsewhere can be named with REDIS_SERVER=/path/to/redis-server.`

let server = findServer()
if (!server && !process.env.REDIS_SERVER) {
  install()
  server = findServer()
}
if (!server) fail(`No ${BINARIES.join(' or ')} found.`)
if (!server.version) fail(`"${server.binary} --version" gave no version.`)
if (isTooOld(server)) fail(`${server.binary} is version ${server.version.join('.')}, which is too old.`)

/** @returns {{ binary: string, valkey: boolean, version: number[] | undefined } | undefined} */
function findServer () {
  for (const binary of BINARIES) {
    const { error, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' })
    if (error) continue
    // "Redis server v=7.0.15 sha=…", "Valkey server v=8.0.1 sha=…"
    const version = /\bv=(\d+)\.(\d+)\.(\d+)/.exec(stdout)?.slice(1).map(Number)
    return { binary, valkey: stdout.startsWith('Valkey'), version }
  }
}

function isTooOld ({ valkey, version: [major, minor] }) {
  return !valkey && (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
}

function install () {
  if (!succeeds('apt-get', ['--version'])) return
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  if (asRoot.length && !succeeds('sudo', ['-n', 'true'])) return

  console.error('No redis-server on the PATH: installing it with apt-get.')
  // Ctrl-C must end apt-get, not this process before it has taken the policy away again.
  const stay = () => {}
  process.on('SIGINT', stay).on('SIGTERM', stay)
  // https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: 101 forbids the package to start its service.
  const policyIsOurs = !existsSync(POLICY)
  try {
    if (policyIsOurs && !run([...asRoot, 'sh', '-c', `printf '#!/bin/sh\\nexit 101\\n' > ${POLICY} && chmod 755 ${POLICY}`])) return
    const apt = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-y', '-o', 'DPkg::Lock::Timeout=120']
    // Lists that are partly out of reach may still be enough to install from.
    run([...apt, 'update'])
    const installPackage = [...apt, 'install', '--no-install-recommends']
    if (!run([...installPackage, 'redis-server'])) run([...installPackage, 'valkey-server'])
  } finally {
    if (policyIsOurs) run([...asRoot, 'rm', '-f', POLICY])
    process.off('SIGINT', stay).off('SIGTERM', stay)
  }
}

function succeeds (command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

function run ([command, ...args]) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * 1024 * 1024 })
  if (status === 0) return true
  console.error(`${[command, ...args].join(' ')} failed:\n${error?.message ?? stdout + stderr}`)
  return false
}

function fail (reason) {
  console.error(`${reason}\n${WANTED}`)
  process.exit(1)
}
