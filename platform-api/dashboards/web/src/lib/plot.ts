// A time series on a canvas, drawn by uPlot in the colours of the theme.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series {
  name: string;
  /** A custom property of app.css. */
  color: string;
  dashed?: boolean;
  filled?: boolean;
}

export interface PlotOptions {
  series: Series[];
  /** The value as people read it. */
  format: (value: number) => string;
  height: number;
  /** What the time axis shows (s since the epoch), whatever the data. */
  span: () => [number, number];
  onHover: (index: number | null) => void;
}

/** Seconds since the epoch, then a value or a gap for each series. */
export type PlotData = [number[], ...(number | null)[][]];

/** Charts with fewer points than this mark each of them. */
const FEW_POINTS = 4;

export class Plot {
  private readonly plot: uPlot;
  private readonly observer: ResizeObserver;

  constructor(host: HTMLElement, options: PlotOptions, data: PlotData) {
    const color = (property: string) => resolve(host, property);
    const font = `12px ${getComputedStyle(host).fontFamily}`;
    const axis = {
      stroke: color('--soft'),
      font,
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false },
    };
    this.plot = new uPlot(
      {
        width: Math.max(host.clientWidth, 100),
        height: options.height,
        legend: { show: false },
        padding: [12, 20, 0, 0],
        cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
        scales: { x: { range: () => options.span() }, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.12 : 1] } },
        axes: [
          { ...axis, grid: { show: false }, size: 28, space: 70, values: (_plot, ticks) => ticks.map(tickTime) },
          { ...axis, size: 54, values: (_plot, ticks) => ticks.map((tick) => options.format(tick)) },
        ],
        series: [
          {},
          ...options.series.map((series) => ({
            label: series.name,
            stroke: color(series.color),
            width: 2,
            // A line needs two points: a chart that has just begun shows what it has.
            points: { show: (plot: uPlot) => plot.data[0].length < FEW_POINTS, size: 6 },
            ...(series.dashed ? { dash: [6, 4] } : {}),
            ...(series.filled ? { fill: color('--series-fill') } : {}),
          })),
        ],
        hooks: { setCursor: [(plot) => options.onHover(plot.cursor.idx ?? null)] },
      },
      data as uPlot.AlignedData,
      host,
    );
    this.observer = new ResizeObserver(() => {
      if (host.clientWidth > 0) this.plot.setSize({ width: host.clientWidth, height: options.height });
    });
    this.observer.observe(host);
  }

  set(data: PlotData): void {
    this.plot.setData(data as uPlot.AlignedData);
  }

  destroy(): void {
    this.observer.disconnect();
    this.plot.destroy();
  }
}

const tickFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const tickTime = (seconds: number): string => tickFormat.format(seconds * 1000);

/** A custom property as a colour that a canvas knows: `light-dark()` is only resolved where it is used. */
function resolve(host: HTMLElement, property: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${property})`;
  host.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
