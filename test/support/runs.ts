/**
 * How often a property is tried: a quarter of what it deserves in `npm test`, which somebody waits for, and all of it
 * where PROPERTY_RUNS=all, as tap sets it in the run for the coverage.
 */
export const runs = (all: number) => process.env.PROPERTY_RUNS === 'all' ? all : Math.ceil(all / 4)
