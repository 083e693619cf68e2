import { writeFile } from 'node:fs/promises'
import { chart } from './report/chart.ts'
import { describeMachine } from './report/machine.ts'
import { markdown } from './report/markdown.ts'
import { Saved } from './report/saved.ts'
import { targetsOf, targetTable } from './report/targets.ts'
import { SECTIONS, type SectionName } from './sections.ts'
import { argumentsOf } from './settings.ts'
import { Bench } from './support/bench.ts'
import { inSession } from './support/owner.ts'
import { installPacked } from './support/packed.ts'

const given = argumentsOf(process.argv.slice(2), Object.keys(SECTIONS) as SectionName[])
const { settings, sections, rows, from } = given
/** Is kept apart, and changes no file that is committed. */
const isTrial = settings.quick || from !== undefined || rows.source !== '(?:)'
// Ends the servers as well, which a signal would leave alone.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
const saved = await Saved.open(isTrial ? 'trial' : 'full')
const failed: SectionName[] = []

await inSession(async (session) => {
  const bench = new Bench(session, await installPacked(session, from), given)
  const machine = await describeMachine((await bench.filled()).database.redis)
  for (const section of sections) {
    const started = performance.now()
    try {
      await measure(section)
    } catch (error) {
      console.error(error)
      failed.push(section)
    }
    console.log(`\n(${section}: ${Math.round((performance.now() - started) / 1000)} s)\n`)
  }

  async function measure<S extends SectionName> (section: S) {
    const { measure, render } = SECTIONS[section]
    const save = (found: typeof saved.found[S]) =>
      saved.add(section, { date: new Date().toISOString(), machine, settings, found: found! })
    const found = await measure(bench, save)
    await save(found)
    console.log(render(found, settings))
  }
})

if (!isTrial) {
  await write('results.md', markdown(saved))
  if (saved.found.hs256) await write('results.svg', chart(saved.found.hs256))
}
console.log(targetTable(targetsOf(saved.found)))
if (failed.length > 0) {
  console.error(`not measured: ${failed.join(', ')}`)
  process.exitCode = 1
}

async function write (name: string, content: string) {
  await writeFile(new URL(name, import.meta.url), content)
}
