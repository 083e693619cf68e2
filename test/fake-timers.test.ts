import { join } from 'node:path'
import { program } from './support/child.ts'
import { played } from './support/faked/played.ts'

played('node:test', program(join(import.meta.dirname, 'support', 'faked', 'node-test.ts')))
