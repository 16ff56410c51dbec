// The graph of a transaction: what the car took on each phase, and what the charger offered it.
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

const LINES = ['l1', 'l2', 'l3', 'offered']

function colours(box) {
  const read = (name) => {
    const probe = document.createElement('span')
    probe.className = `chart-${name}`
    box.append(probe)
    const colour = getComputedStyle(probe).color
    probe.remove()
    return colour
  }
  return Object.fromEntries([...LINES, 'grid', 'text'].map((name) => [name, read(name)]))
}

class Graph {
  constructor(box) {
    this.box = box
    this.plane = box.querySelector('[data-plane]')
    this.tip = box.querySelector('[data-tip]')
    this.empty = box.querySelector('[data-empty]')
    this.words = box.dataset
    this.data = [[], [], [], [], []]
    this.hidden = new Set()
    this.time = new Intl.DateTimeFormat(document.documentElement.lang, {
      hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZone: box.dataset.zone,
    })
    box.querySelectorAll('[data-line]').forEach((button) => button.addEventListener('click', () => {
      const isShown = button.getAttribute('aria-pressed') !== 'true'
      button.setAttribute('aria-pressed', String(isShown))
      this.hidden[isShown ? 'delete' : 'add'](button.dataset.line)
      this.plot?.setSeries(LINES.indexOf(button.dataset.line) + 1, { show: isShown })
    }))
    const again = () => this.draw()
    document.addEventListener('voltyard:theme', again)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again)
    new ResizeObserver(() => this.fit()).observe(this.plane)
    document.addEventListener('voltyard:heard', ({ detail }) => {
      if (detail.kind === 'lost' || detail.transaction_id === box.dataset.transaction) this.load()
    })
    this.load()
  }

  async load() {
    if (this.isLoading) {
      this.isStale = true
      return
    }
    this.isLoading = true
    try {
      const last = this.data[0].at(-1) || 0
      const answer = await fetch(`${this.box.dataset.url}?after=${last}`)
      if (!answer.ok) return
      const more = await answer.json()
      const isNew = more.at.map((at) => at > last)
      ;['at', ...LINES].forEach((name, n) => this.data[n].push(...more[name].filter((_, i) => isNew[i])))
      if (more.at.length || !this.plot) this.plot ? this.plot.setData(this.data) : this.draw()
      this.box.dataset.points = this.data[0].length
    } catch {
      // The pill of the live connection says it; the next event loads again.
    } finally {
      this.isLoading = false
      if (this.isStale) {
        this.isStale = false
        this.load()
      }
    }
  }

  size() {
    return { width: this.plane.clientWidth, height: this.plane.clientWidth < 560 ? 260 : 340 }
  }

  fit() {
    const { width, height } = this.size()
    if (this.plot && width && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height })
  }

  draw() {
    const hasLines = this.data.slice(1).some((line) => line.some((value) => value !== null))
    this.empty.hidden = hasLines
    this.plane.hidden = !hasLines
    this.box.querySelector('[data-legend]').hidden = !hasLines
    this.plot?.destroy()
    this.plot = null
    if (!hasLines) return
    const look = colours(this.box)
    const zone = this.box.dataset.zone
    const font = '12px "Inter Variable", system-ui, sans-serif'
    const line = (name, n) => ({
      label: this.words[name],
      stroke: look[name],
      width: name === 'offered' ? 2 : 2.25,
      dash: name === 'offered' ? [1, 5] : undefined,
      cap: 'round',
      paths: name === 'offered' ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
      points: { show: this.data[0].length < 3, size: 6, fill: look[name] },
      fill: name === 'l1' ? look[name].replace(/^rgb\((.*)\)$/, 'rgba($1, 0.06)') : undefined,
      show: !this.hidden.has(name),
      spanGaps: n === 3,
    })
    const axis = { stroke: look.text, font, grid: { stroke: look.grid, width: 1 }, ticks: { show: false } }
    this.plot = new uPlot({
      ...this.size(),
      padding: [12, 8, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      cursor: { y: false, points: { size: 8, width: 2 }, drag: { setScale: false, x: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(8, (high || 0) * 1.15)] } },
      axes: [
        { ...axis, size: 32, space: 70, grid: { show: false }, values: (_, splits) => splits.map((at) => this.time.format(at * 1000).slice(0, splits[1] - splits[0] < 60 ? 8 : 5)) },
        { ...axis, size: 52, values: (_, splits) => splits.map((value) => `${value} A`) },
      ],
      series: [{}, ...LINES.map(line)],
      hooks: { setCursor: [(plot) => this.point(plot)] },
    }, this.data, this.plane)
    this.plot.over.addEventListener('touchmove', (event) => {
      const frame = this.plot.over.getBoundingClientRect()
      this.plot.setCursor({ left: event.touches[0].clientX - frame.left, top: 10 })
    }, { passive: true })
    this.plot.over.addEventListener('mouseleave', () => { this.tip.hidden = true })
  }

  point(plot) {
    const { idx, left } = plot.cursor
    if (idx == null || left < 0 || this.data[0][idx] === undefined) {
      this.tip.hidden = true
      return
    }
    this.tip.querySelector('[data-at]').textContent = this.time.format(this.data[0][idx] * 1000)
    LINES.forEach((name, n) => {
      const value = this.data[n + 1][idx]
      const row = this.tip.querySelector(`[data-row=${name}]`)
      row.hidden = value === null || this.hidden.has(name)
      row.querySelector('[data-value]').textContent = value === null ? '' : `${value.toFixed(1)} A`
    })
    this.tip.hidden = false
    const offset = plot.over.offsetLeft + left
    const isRight = offset + this.tip.offsetWidth + 24 > this.plane.clientWidth
    this.tip.style.transform = `translateX(${isRight ? offset - this.tip.offsetWidth - 14 : offset + 14}px)`
  }
}

document.querySelectorAll('[data-graph]').forEach((box) => new Graph(box))
