// Short notices: what was done, or what went wrong and who can mend it.

const LASTS_MS = { good: 5000, info: 6000, warn: 9000, bad: 12000 }

export function notice({ tone = 'info', text, help = '' }) {
  const region = document.getElementById('notices')
  const made = document.getElementById('notice').content.firstElementChild.cloneNode(true)
  made.dataset.tone = tone
  made.querySelector('[data-text]').textContent = text
  made.querySelector('[data-help]').textContent = help
  const icon = made.querySelector('use')
  const name = tone === 'good' ? 'circle-check' : tone === 'info' ? 'info-circle' : 'alert-triangle'
  icon.setAttribute('href', icon.getAttribute('href').replace(/#.*/, `#${name}`))
  made.querySelector('button').addEventListener('click', () => made.remove())
  region.append(made)
  setTimeout(() => made.remove(), LASTS_MS[tone])
}

// What the server says in HX-Trigger: inside an open dialog it is shown there.
document.addEventListener('toast', (event) => {
  const alert = event.target.closest?.('dialog')?.querySelector('[data-alert]')
  if (alert && event.detail.tone === 'bad') {
    alert.textContent = [event.detail.text, event.detail.help].filter(Boolean).join(' ')
    alert.hidden = false
    return
  }
  notice(event.detail)
})

document.addEventListener('htmx:error', (event) => {
  const source = event.detail.ctx?.sourceElement
  if (!source || source.hasAttribute('data-live')) return
  const words = document.getElementById('notices').dataset
  notice({ tone: 'bad', text: words.offline, help: words.offlineHelp })
})

// What the page before had to say.
for (const said of document.querySelectorAll('[data-flash]')) {
  said.querySelector('button').addEventListener('click', () => said.remove())
  setTimeout(() => said.remove(), LASTS_MS.good)
}
