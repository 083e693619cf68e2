import { join } from 'node:path'
import { node } from './support/child.ts'
import { played } from './support/faked/played.ts'

const FOLDER = join(import.meta.dirname, 'support', 'faked')
const VITEST = join(import.meta.dirname, '..', 'node_modules', 'vitest', 'vitest.mjs')

played('vitest', node(VITEST, 'run', `--root=${FOLDER}`, '--testTimeout=30000', '--reporter=tap-flat'))
