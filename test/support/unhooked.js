import hooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

/*
 * Before tap, with `node --import`: tap follows each promise and each timer of a process, to tell which test an error
 * belongs to that nobody handles. That takes a tenth to a fourth of the time of a test file. Without it such an error
 * ends the process, and test/run.js says which files it had.
 */
hooks.createHook = () => ({ enable () {}, disable () {} })
syncBuiltinESMExports()
