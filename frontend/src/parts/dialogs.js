// Dialogs are the browser's own <dialog>: it traps the focus, closes on Escape, gives the focus back.

document.addEventListener('click', (event) => {
  const opener = event.target.closest('[data-open]')
  if (opener) {
    const dialog = document.getElementById(opener.dataset.open)
    for (const [name, value] of Object.entries(opener.dataset)) {
      const field = name.startsWith('set') && dialog.querySelector(`[data-field=${name.slice(3).toLowerCase()}]`)
      if (field) {
        if (field.matches('input')) field.value = value
        else field.textContent = value
      }
    }
    clearAlert(dialog)
    dialog.showModal()
    return
  }
  const closer = event.target.closest('[data-close]')
  if (closer) closer.closest('dialog').close()
  // A click on the backdrop is a click on the dialog itself.
  if (event.target.matches('dialog[open]')) event.target.close()
})

function clearAlert(dialog) {
  const alert = dialog.querySelector('[data-alert]')
  if (alert) alert.hidden = true
}

// A form that needs a second thought names it in data-confirm.
document.addEventListener('submit', (event) => {
  const form = event.target
  if (!form.dataset.confirm || form.dataset.confirmed) {
    delete form.dataset.confirmed
    return
  }
  event.preventDefault()
  event.stopImmediatePropagation()
  const dialog = document.getElementById('confirm')
  dialog.querySelector('[data-title]').textContent = form.dataset.confirm
  dialog.querySelector('[data-text]').textContent = form.dataset.confirmText || ''
  const yes = dialog.querySelector('[data-yes]')
  yes.textContent = form.dataset.confirmYes || yes.dataset.otherwise
  yes.className = `btn ${form.dataset.confirmTone === 'calm' ? 'btn-primary' : 'btn-danger'}`
  yes.onclick = () => {
    dialog.close()
    form.dataset.confirmed = '1'
    form.requestSubmit(event.submitter)
  }
  dialog.showModal()
}, true)

// A plain form shows that it is on its way, and is not sent twice.
document.addEventListener('submit', (event) => {
  const form = event.target
  if (event.defaultPrevented || form.method === 'dialog' || form.matches('[hx-post],[hx-get]')) return
  const button = event.submitter || form.querySelector('button[type=submit]')
  if (!button) return
  button.classList.add('is-busy')
  setTimeout(() => { button.disabled = true })
})
addEventListener('pageshow', () => {
  for (const button of document.querySelectorAll('.is-busy')) {
    button.classList.remove('is-busy')
    button.disabled = false
  }
})

// A form inside a dialog closes it once the server took it.
document.addEventListener('htmx:finally:request', (event) => {
  const { ctx } = event.detail
  const dialog = ctx.sourceElement.closest('dialog')
  if (dialog && ctx.response && ctx.response.status < 400) dialog.close()
})

// A dialog that the server sent is shown as soon as it is there, once.
document.addEventListener('htmx:after:swap', () => {
  const sent = document.querySelector('dialog[data-shows]')
  if (!sent) return
  delete sent.dataset.shows
  sent.showModal()
})
