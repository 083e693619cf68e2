import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import type { Owner } from '../../test/support/redis.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NAME = 'fastify-jwt-revocation'
/** Of what the processes are made. */
const SOURCES = ['bench/processes', 'bench/contenders', 'bench/support']

const run = promisify(execFile)

/** A folder like a user's: the packed package beside its dependencies, and the benchmark's processes as JavaScript. */
export async function installPacked (owner: Owner, from = ROOT): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  owner.after(() => rm(folder, { recursive: true, force: true }))
  await run('npm', ['pack', '--pack-destination', folder], { cwd: from })
  const tarball = (await readdir(folder)).find((file) => file.endsWith('.tgz'))!
  const modules = join(folder, 'node_modules')
  await mkdir(join(modules, NAME), { recursive: true })
  await run('tar', ['-xzf', join(folder, tarball), '-C', join(modules, NAME), '--strip-components', '1'])
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  }
  await compile(folder)
  return folder
}

async function compile (folder: string) {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options: compilerOptions } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, module: 'esnext' }, ROOT)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  for (const source of SOURCES) {
    for (const file of await readdir(join(ROOT, source))) {
      const { outputText } = ts.transpileModule(await readFile(join(ROOT, source, file), 'utf8'), { compilerOptions })
      const made = join(folder, source, file.replace(/\.ts$/, '.js'))
      await mkdir(dirname(made), { recursive: true })
      await writeFile(made, outputText)
    }
  }
}
