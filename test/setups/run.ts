import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/*
 * `npm run test:all` runs what needs minutes or big tools: each *.slow.ts, then each *.setup.ts.
 *
 * Goal of the setups: the packed plugin works with the tools that its users have: bundlers, Jest, two NestJS, four TypeScripts.
 * Method: one installation of all of them beside the plugin, in one go as a user does it, and one of the Nest before,
 * outside this repository so that nothing is found in its node_modules; then one test file a tool. SETUPS_FOLDER keeps the installation.
 */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const given = process.env.SETUPS_FOLDER

const { NODE_OPTIONS, ...env } = process.env
// All that is tried, not a part of it.
env.PROPERTY_RUNS = 'all'

function run (cwd: string, command: string, ...args: string[]) {
  console.error(`> ${[command, ...args].join(' ')}`)
  const { status } = spawnSync(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] })
  return status === 0
}

async function install (folder: string) {
  await mkdir(folder, { recursive: true })
  for (const name of await readdir(folder)) if (name.endsWith('.tgz')) await rm(join(folder, name))
  if (!run(ROOT, 'npm', 'pack', '--silent', '--pack-destination', folder)) return false
  const tarball = join(folder, (await readdir(folder)).find((name) => name.endsWith('.tgz'))!)
  return await installBeside(tarball, folder, 'tools.json') && await installBeside(tarball, join(folder, 'nest11'), 'nest11.json')
}

async function installBeside (tarball: string, folder: string, tools: string) {
  await mkdir(folder, { recursive: true })
  // npm takes a tarball of the same name for what it has already.
  await rm(join(folder, 'node_modules/fastify-jwt-revocation'), { recursive: true, force: true })
  const wanted = JSON.parse(await readFile(join(ROOT, 'test/setups', tools), 'utf8'))
  wanted.dependencies['fastify-jwt-revocation'] = `file:${tarball}`
  await writeFile(join(folder, 'package.json'), JSON.stringify(wanted))
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts', '--loglevel=error']
  return run(folder, 'npm', 'install', ...quiet) && existsSync(join(folder, 'node_modules/fastify-jwt-revocation/dist/index.js'))
}

const folder = given ?? await mkdtemp(join(tmpdir(), 'setups-'))
const filesOf = async (suffix: string) =>
  (await readdir(join(ROOT, 'test'), { recursive: true })).filter((name) => name.endsWith(suffix)).map((name) => join('test', name))

try {
  const files = await filesOf('.slow.ts')
  if (await install(folder)) {
    env.SETUPS_FOLDER = folder
    files.push(...await filesOf('.setup.ts'))
  } else {
    console.log('not ok - the installation of the tools and the packed plugin')
    process.exitCode = 1
  }
  if (!run(ROOT, process.execPath, 'test/run.js', '--jobs=2', '--timeout=1800', ...files)) process.exitCode = 1
} finally {
  if (given === undefined) await rm(folder, { recursive: true, force: true })
}
