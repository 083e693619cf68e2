import { BarChart } from 'echarts/charts'
import { GridComponent, TitleComponent } from 'echarts/components'
import { init, use } from 'echarts/core'
import { SVGRenderer } from 'echarts/renderers'
import { JWT } from '../contenders/contender.ts'
import { MAIN_CONNECTIONS } from '../settings.ts'
import { figure, times } from './format.ts'
import type { Matrix } from './results.ts'

use([BarChart, GridComponent, TitleComponent, SVGRenderer])

/** Of the same contrast on white and on black. */
const TEXT = '#7a7a7a'
const OURS = '#2a9d8f'
const OTHERS = '#8a8fa8'

/** CPU per request by contender, on a transparent ground. */
export function chart (matrix: Matrix): string {
  const cell = { algorithm: 'HS256', connections: MAIN_CONNECTIONS } as const
  const names = matrix.contenders
  const labelOf = (name: string) => [figure(matrix.median(name, 'cpu', cell)), times(matrix.ratio(name, JWT, 'HS256'))].filter(Boolean).join('; ')
  const font = { color: TEXT, fontSize: 13, fontFamily: 'system-ui, sans-serif' }
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 900, height: 70 + 30 * names.length })
  chart.setOption({
    animation: false,
    textStyle: font,
    title: {
      text: `Microseconds of server CPU per request, HS256, ${MAIN_CONNECTIONS} connections and the ratio to ${JWT}, side by side`,
      textStyle: { ...font, fontSize: 14 }
    },
    grid: { left: 350, right: 110, top: 40, bottom: 10 },
    xAxis: { type: 'value', show: false },
    yAxis: { type: 'category', inverse: true, data: names, axisLabel: { ...font, width: 340 }, axisLine: { show: false }, axisTick: { show: false } },
    series: [{
      type: 'bar',
      data: names.map((name) => ({
        value: matrix.median(name, 'cpu', cell),
        itemStyle: { color: name.startsWith('ours') ? OURS : OTHERS },
        label: { formatter: labelOf(name) }
      })),
      label: { ...font, show: true, position: 'right' }
    }]
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}
