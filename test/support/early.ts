/*
 * Loaded before the files of a process. These come before the plugin, which takes its clock and its timers when it is
 * loaded: what several test files import alike runs before what one of them imports first.
 */
export * from './monotonic.ts'
export * from './intervals.ts'
export * from './time-limits.ts'
